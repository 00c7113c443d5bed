"""The first frame of a liveness link: magic byte, size (2 bytes, big-endian), sealed bytes.

What is sealed, and how it is checked, is the caller's: the frame only tells where it ends. After it a link
carries nothing in either direction.
"""

import asyncio
import socket
from typing import Final

from protocol.errors import RemoteProtocolError
from protocol.limits import DATAGRAM_SIZE_MAX_BYTES

LINK_MAGIC: Final = 0xA2
"""First byte of a link on the peer port, where TLS starts with 0x16."""

_HEADER_SIZE_BYTES: Final = 3
_SEALED_SIZE_MAX_BYTES: Final = DATAGRAM_SIZE_MAX_BYTES
"""A hello is sealed like a datagram, so it is never larger than one."""

_SILENCE_S: Final = 5
_KEEPALIVE_INTERVAL_S: Final = 2
_KEEPALIVE_COUNT: Final = 3


def frame_hello(sealed: bytes) -> bytes:
    """Return the first frame of a link that says ``sealed``, at most one datagram's worth of bytes."""
    assert 0 < len(sealed) <= _SEALED_SIZE_MAX_BYTES, "a hello is not empty and fits one datagram"
    return bytes([LINK_MAGIC]) + len(sealed).to_bytes(2, "big") + sealed


def hello_in(received: bytes) -> bytes | None:
    """Return the sealed bytes once ``received`` holds the whole frame, None while it does not.

    Raises:
        RemoteProtocolError: The size is out of range, or something follows the frame.
    """
    if len(received) < _HEADER_SIZE_BYTES:
        return None
    size = int.from_bytes(received[1:_HEADER_SIZE_BYTES], "big")
    if not 0 < size <= _SEALED_SIZE_MAX_BYTES:
        raise RemoteProtocolError(f"hello of {size} bytes")
    end = _HEADER_SIZE_BYTES + size
    if len(received) > end:
        raise RemoteProtocolError("bytes after the hello")
    return received[_HEADER_SIZE_BYTES:end] if len(received) == end else None


def end_with_host(transport: asyncio.BaseTransport) -> None:
    """Let the operating system end the connection some 11 s after the other host vanished without a word.

    A link carries nothing, so nothing else would ever free it. A paused process is no vanished host: its kernel
    answers.
    """
    connection = transport.get_extra_info("socket")
    if connection is None:
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        ("TCP_KEEPIDLE", _SILENCE_S),
        ("TCP_KEEPINTVL", _KEEPALIVE_INTERVAL_S),
        ("TCP_KEEPCNT", _KEEPALIVE_COUNT),
    ):
        if hasattr(socket, option):  # not every platform has all three
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
