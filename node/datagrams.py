"""The UDP side of the peer port: seals what goes out, opens what comes in, counts what is refused.

Nothing is queued here: a datagram is handled to its end as it is read, and the kernel's receive buffer is the
only, bounded, queue. uvloop reads up to a few dozen datagrams per turn of the loop; the plain loop one.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, cast

from node.clock import steady_s
from protocol import codec, limits
from protocol.effects import Received
from protocol.envelope import MAGIC_AND_VERSION, Opener, Sealer
from protocol.errors import ConfigError, RemoteProtocolError
from protocol.ids import PeerId, ShortId
from protocol.messages import Message
from protocol.network import NetworkIdentity
from protocol.statements import Address

_RECEIVE_BUFFER_BYTES: Final = 4 * 2**20
"""Asked of the kernel (which may give less): room for a burst of some thousand datagrams."""

_READ_SIZE_BYTES: Final = 9 * 2**10
"""Room for the largest datagram of the stock Kademlia protocol, 8 KiB; what is cut off opens nowhere."""

_STOCK_FIRST_BYTE_MAX: Final = 0x01
"""Datagrams of the stock Kademlia protocol start with 0x00 (request) or 0x01 (reply)."""

_STRANGER_RATE_PER_S: Final = 2000.0
_STRANGER_BURST: Final = 4000.0
"""Datagrams of unknown senders that are tried per second and source: each costs a key derivation."""

_SOURCES_MAX: Final = 1024


class StrangerLimit:
    """A token bucket for each source address of datagrams from senders that nobody has authenticated yet."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, host: str, now: float) -> bool:
        """Take one token of ``host``; return whether there was one."""
        tokens, since = self._buckets.get(host, (_STRANGER_BURST, now))
        tokens = min(_STRANGER_BURST, tokens + (now - since) * _STRANGER_RATE_PER_S)
        allowed = tokens >= 1.0
        self._buckets[host] = (tokens - 1.0 if allowed else tokens, now)
        self._buckets.move_to_end(host)
        if len(self._buckets) > _SOURCES_MAX:
            self._buckets.popitem(last=False)
        return allowed


class DatagramPort(asyncio.DatagramProtocol):
    """One bound UDP socket under the envelope."""

    def __init__(
        self,
        *,
        network: NetworkIdentity,
        peer_id: PeerId,
        boot: int,
        on_message: Callable[[Received], None],
        on_stock_datagram: Callable[[bytes, tuple[str, int]], None] | None = None,
    ) -> None:
        """Prepare the port; ``on_stock_datagram`` is given in open networks only."""
        self._sealer = Sealer(network=network, peer_id=peer_id, boot=boot)
        self._opener = Opener(network=network, peer_id=peer_id)
        self._on_message = on_message
        self._on_stock_datagram = on_stock_datagram
        self._strangers = StrangerLimit()
        self._transport: asyncio.DatagramTransport | None = None
        self._family = socket.AF_INET
        self.counts: dict[str, int] = {
            "sent": 0,
            "unsendable": 0,
            "received": 0,
            "refused": 0,
            "undecodable": 0,
            "throttled": 0,
        }

    async def open(self, bind: str, port: int) -> None:
        """Bind the socket.

        Raises:
            ConfigError: The port is taken or the address is not ours.
        """
        self._family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        loop = asyncio.get_running_loop()
        try:
            await loop.create_datagram_endpoint(lambda: self, local_addr=(bind, port))
        except (OSError, UnicodeError, OverflowError) as error:
            raise ConfigError(
                f"UDP port {port} of {bind!r} cannot be used: {getattr(error, 'strerror', None) or error}",
                next_step="choose another with --port (or --base-port), or end the program that holds it",
            ) from error

    def close(self) -> None:
        """Close the socket. Idempotent."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def send(self, message: Message, address: Address, receiver: ShortId) -> None:
        """Seal and send one message; UDP gives no word of success.

        Raises:
            LocalProtocolError: The message does not fit one datagram.
        """
        self.send_encoded(codec.encode(message), address, receiver)

    def send_encoded(self, data: bytes, address: Address, receiver: ShortId) -> None:
        """Seal and send one message that is encoded already.

        Raises:
            LocalProtocolError: The message does not fit one datagram.
        """
        self._transmit(self._sealer.seal(data, receiver), address, receiver)

    def _transmit(self, datagram: bytes, address: Address, receiver: ShortId) -> None:
        if self._transport is None:
            return
        try:
            # Any member chooses its own address: a name in it would hold up the plain loop, and fail on uvloop.
            socket.inet_pton(self._family, address.host)
            self._transport.sendto(datagram, (address.host, address.port))
        except (OSError, ValueError):
            self.counts["unsendable"] += 1
        else:
            self.counts["sent"] += 1

    def send_stock(self, datagram: bytes, address: tuple[str, int]) -> None:
        """Send the bytes of the stock Kademlia protocol, in open networks."""
        if self._transport is not None:
            self._transport.sendto(datagram, address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport and ask for a larger receive buffer."""
        self._transport = cast(asyncio.DatagramTransport, transport)
        if hasattr(transport, "max_size"):  # asyncio's own: it would allocate 256 KiB for each datagram that it reads
            transport.max_size = _READ_SIZE_BYTES
        socket_handle = transport.get_extra_info("socket")
        if socket_handle is not None:
            socket_handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Open, decode and hand on one datagram; drop and count what is none of ours."""
        host, port = addr[0], addr[1]
        self.counts["received"] += 1
        if not data:
            return
        if data[0] != MAGIC_AND_VERSION:
            if self._on_stock_datagram is not None and data[0] <= _STOCK_FIRST_BYTE_MAX:
                self._on_stock_datagram(data, (host, port))
            else:
                self.counts["refused"] += 1
            return
        if len(data) > limits.DATAGRAM_SIZE_MAX_BYTES:
            self.counts["refused"] += 1
            return
        if not self._opener.is_known(data) and not self._strangers.allows(host, steady_s()):
            self.counts["throttled"] += 1
            return
        try:
            opened = self._opener.open(data)
        except RemoteProtocolError:
            self.counts["refused"] += 1
            return
        try:
            message = codec.decode(opened.plaintext)
        except RemoteProtocolError:
            self.counts["undecodable"] += 1
            return
        self._on_message(Received(message, Address(host, port), opened.sender, opened.sender_boot))

    def error_received(self, exc: Exception) -> None:
        """Ignore ICMP errors of earlier sends: probes and links judge peers, not the kernel's hearsay."""

    def seal_hello(self, receiver: ShortId) -> bytes:
        """Return a sealed empty message: the first bytes of a liveness link."""
        return self._sealer.seal(b"", receiver)

    def open_hello(self, datagram: bytes) -> ShortId | None:
        """Return who sealed a link's first bytes, or None for a stranger or a replay."""
        try:
            return self._opener.open(datagram).sender
        except RemoteProtocolError:
            return None
