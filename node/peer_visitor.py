"""One connection to the peer port, from its first byte to its end.

The first byte tells what a connection wants to be: a TLS handshake (0x16) becomes HTTP between peers, the magic of
a link becomes a liveness link, everything else is closed without an answer. Until the other end has proved the
network key, by the handshake or by its hello, it is a stranger and has little time.

TLS has to start after bytes were read. ``loop.start_tls`` would lose them, and looking at the socket without
reading it works on no simulated loop, so ``asyncio.sslproto.SSLProtocol`` is put on the transport and fed with
them. It is pure Python over the public transport methods and works on any loop.

While an invite is open, a caller may come without a certificate; it has one word with the door (``node.guest``).
"""

import asyncio
import enum
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable
from typing import Final, Protocol, cast

from node.guest import Door, Guest
from node.link_hello import LINK_MAGIC, end_with_host, hello_in
from node.peer_limits import PeerPortLimits
from node.tls import PeerTls, peer_id_of_transport, shows_certificate
from protocol.errors import RemoteProtocolError
from protocol.ids import PeerId

_TLS_HANDSHAKE: Final = 0x16
"""Content type of a TLS record that carries a handshake (RFC 8446, section 5.1)."""


class Standing(enum.Enum):
    """What a visitor is."""

    STRANGER = "stranger"
    LINK = "link"
    REQUESTS = "requests"
    GONE = "gone"


class House(Protocol):
    """Who receives visitors; ``node.peer_port`` is one."""

    tls: PeerTls
    door: Door | None
    """Who receives callers without a certificate."""

    new_http: Callable[[], asyncio.Protocol]
    """Makes the HTTP server's protocol for one connection."""

    check_hello: Callable[[bytes], PeerId | None]
    limits: PeerPortLimits

    def arrived(self, visitor: "Visitor") -> None:
        """A stranger came; somebody may have to go for it."""

    def may_stay(self, visitor: "Visitor", standing: Standing, peer_id: PeerId) -> bool:
        """Return whether a proved visitor is admitted, and count it in if so."""

    def left(self, visitor: "Visitor") -> None:
        """A visitor's connection ended. Called once."""


class Visitor(asyncio.Protocol):
    """A connection while it is a stranger, and after that while it is a link; its requests are HTTP's."""

    __slots__ = ("_house", "_received", "_timer", "_transport", "host", "peer_id", "standing")

    def __init__(self, house: House) -> None:
        self.standing = Standing.STRANGER
        self.peer_id: PeerId | None = None
        self.host = ""
        self._house = house
        self._received = b""
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is of no asyncio class
        address = transport.get_extra_info("peername")
        self.host = str(address[0]) if address else ""  # empty when the other end is gone already
        self._timer = asyncio.get_running_loop().call_later(self._house.limits.stranger_timeout_s, self.close)
        self._house.arrived(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        first = self._received[0]
        if self.standing is not Standing.STRANGER:
            self.close()  # a link carries nothing
        elif first == _TLS_HANDSHAKE:
            self._start_tls()
        elif first == LINK_MAGIC:
            self._read_hello()
        else:
            self.close()

    def connection_lost(self, error: BaseException | None) -> None:
        self._stop_timer()
        if self.standing is not Standing.GONE:
            self._house.left(self)
            self.standing = Standing.GONE
        self._transport = None

    def close(self) -> None:
        """End the connection at once, without an answer."""
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()

    def handshake_done(self, secured: asyncio.Transport) -> None:
        """Hand a proved peer's connection to the HTTP server, and one without a certificate to the door."""
        if not shows_certificate(secured) and self._house.door is not None:
            guest = Guest(self._house.door)
            secured.set_protocol(guest)
            guest.connection_made(secured)
            return
        self._stop_timer()
        try:
            peer_id = peer_id_of_transport(secured)
        except RemoteProtocolError:
            self.close()
            return
        if self._admitted(Standing.REQUESTS, peer_id):
            http = self._house.new_http()
            secured.set_protocol(http)
            http.connection_made(secured)

    def _start_tls(self) -> None:
        assert self._transport is not None
        received, self._received = self._received, b""
        layer = _TlsLayer(self, self._house)
        # Paused while the protocol changes: uvloop chooses how to read when reading starts.
        self._transport.pause_reading()
        self._transport.set_protocol(layer)
        layer.connection_made(self._transport)
        layer.feed(received)
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def _read_hello(self) -> None:
        try:
            sealed = hello_in(self._received)
        except RemoteProtocolError:
            self.close()
            return
        if sealed is None:
            return
        self._received = b""
        self._stop_timer()
        peer_id = self._house.check_hello(sealed)
        if peer_id is None:
            self.close()
        elif self._admitted(Standing.LINK, peer_id):
            assert self._transport is not None
            end_with_host(self._transport)

    def _admitted(self, standing: Standing, peer_id: PeerId) -> bool:
        if not self._house.may_stay(self, standing, peer_id):
            self.close()
            return False
        self.standing = standing
        self.peer_id = peer_id
        return True

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _TlsLayer(SSLProtocol):
    """TLS on a visitor's transport; tells the visitor how the handshake and the connection end."""

    max_size = 64 * 1024
    """Bytes of the read buffer, in use from the first to the last: a quarter of asyncio's own choice."""

    def __init__(self, visitor: Visitor, house: House) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            _Handshake(visitor),
            house.tls.server_for_guests if house.door is not None and house.door.is_open else house.tls.server,
            None,  # type: ignore[arg-type]  # no future waits for the handshake
            server_side=True,
            ssl_handshake_timeout=house.limits.stranger_timeout_s,  # type: ignore[arg-type]  # any number will do
            ssl_shutdown_timeout=1.0,
        )
        self._visitor = visitor

    def feed(self, received: bytes) -> None:
        """Take bytes that were read from the transport before TLS started."""
        while received:
            buffer = self.get_buffer(len(received))
            size = min(len(buffer), len(received))
            buffer[:size] = received[:size]
            self.buffer_updated(size)
            received = received[size:]

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        self._visitor.connection_lost(exc)


class _Handshake(asyncio.Protocol):
    """Stands where the HTTP protocol will be until the other end has proved who it is."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._visitor.handshake_done(transport)  # type: ignore[arg-type]  # asyncio's own TLS transport
