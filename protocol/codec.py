"""Bytes to messages and back. ``decode`` raises ``DecodeError`` and nothing else, for any bytes at all."""

import functools
from operator import or_
from typing import Any, Final

import msgspec

from protocol.errors import DecodeError, LocalProtocolError
from protocol.limits import LARGE_MESSAGE_SIZE_MAX_BYTES, MESSAGE_SIZE_MAX_BYTES
from protocol.messages import CONTROL_MESSAGES, DHT_MESSAGES, SERVICE_MESSAGES, Message
from protocol.statements import EVIDENCE_KEPT_MAX, Accusation, Descriptor, Evidence, Leave

# A union that the decoder takes at run time; no type checker can follow it.
_message_types: Any = functools.reduce(or_, CONTROL_MESSAGES + DHT_MESSAGES + SERVICE_MESSAGES)
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[Message]] = msgspec.msgpack.Decoder(_message_types)

_evidence_decoders: Final[dict[int, msgspec.msgpack.Decoder[Evidence]]] = {
    kind.evidence_tag: msgspec.msgpack.Decoder(kind) for kind in (Descriptor, Accusation, Leave)
}

# What msgspec raises on hostile bytes: its own errors, and the UTF-8 and recursion errors beneath them.
_MALFORMED = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


def encode(message: Message) -> bytes:
    """Return the bytes of ``message``.

    Raises:
        LocalProtocolError: They do not fit one datagram.
    """
    return _encode(message, size_max_bytes=MESSAGE_SIZE_MAX_BYTES)


def encode_large(message: Message) -> bytes:
    """Return the bytes of ``message`` for TCP, where the largest value fits.

    Raises:
        LocalProtocolError: They are more than ``LARGE_MESSAGE_SIZE_MAX_BYTES``.
    """
    return _encode(message, size_max_bytes=LARGE_MESSAGE_SIZE_MAX_BYTES)


def encoded_size(message: Message) -> int:
    """Return the size of ``message`` in bytes, whether or not it fits a datagram."""
    return len(_encoder.encode(message))


def decode(data: bytes) -> Message:
    """Return the message in ``data``.

    Raises:
        DecodeError: The bytes are no message of this version.
    """
    return _decode(data, size_max_bytes=MESSAGE_SIZE_MAX_BYTES)


def decode_large(data: bytes) -> Message:
    """Return the message in ``data``, which came over TCP.

    Raises:
        DecodeError: The bytes are no message of this version, or more than ``LARGE_MESSAGE_SIZE_MAX_BYTES``.
    """
    return _decode(data, size_max_bytes=LARGE_MESSAGE_SIZE_MAX_BYTES)


@functools.lru_cache(maxsize=EVIDENCE_KEPT_MAX)  # gossip brings each piece several times; a statement never changes
def decode_evidence(data: bytes) -> Evidence:
    """Return the evidence in ``data``; its signature is not checked here.

    Raises:
        DecodeError: The bytes are no evidence of this version.
    """
    decoder = _evidence_decoders.get(data[0]) if data else None
    if decoder is None:
        raise DecodeError("unknown kind of evidence")
    try:
        return decoder.decode(data[1:])
    except _MALFORMED as error:
        raise DecodeError(str(error)) from error


def _encode(message: Message, *, size_max_bytes: int) -> bytes:
    data = _encoder.encode(message)
    if len(data) > size_max_bytes:
        raise LocalProtocolError(f"{type(message).__name__} has {len(data)} bytes, over {size_max_bytes}")
    return data


def _decode(data: bytes, *, size_max_bytes: int) -> Message:
    if len(data) > size_max_bytes:
        raise DecodeError(f"message of {len(data)} bytes")
    try:
        return _decoder.decode(data)
    except _MALFORMED as error:
        raise DecodeError(str(error)) from error
