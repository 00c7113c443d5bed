"""A member that does not keep to the rules: the network key is real, everything that it says is its own choice.

It answers probes, so that others count it among the living, keeps its liveness links open, and records each
datagram that it sends, to send the same bytes again.
"""

import contextlib
import os
import socket
import threading
import time
from types import TracebackType
from typing import Final, Self

from protocol import codec
from protocol.envelope import Opened, Opener, Sealer
from protocol.errors import RemoteProtocolError
from protocol.identity import Identity
from protocol.ids import ANY_RECEIVER, PeerId, short_id_of
from protocol.messages import Ack, BootNotice, JoinReply, JoinRequest, Message, Ping
from protocol.network import NetworkIdentity
from protocol.statements import Address, Descriptor, signed
from tests.waiting import until_blocking

_HOST: Final = "127.0.0.1"


class HostileMember:
    """One peer id, one UDP socket, one TCP listener on the same port."""

    def __init__(self, network: NetworkIdentity, *, name: str = "hostile") -> None:
        self.network: Final = network
        self.identity: Final = Identity(os.urandom(32))
        self.boot: Final = int(time.time()) << 24
        self._sealer = Sealer(network=network, peer_id=self.identity.peer_id, boot=self.boot)
        self._opener = Opener(network=network, peer_id=self.identity.peer_id)
        self._listener = socket.create_server((_HOST, 0))
        self._links: list[socket.socket] = []
        port = self._listener.getsockname()[1]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((_HOST, port))
        self._socket.settimeout(0.2)
        self._ending = False
        self._replays = False
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._listen), threading.Thread(target=self._accept)]
        self.descriptor: Final = signed(
            Descriptor(
                author_key=self.identity.public_key,
                name=name,
                address=Address(_HOST, port),
                api=Address(_HOST, port),
                boot=self.boot,
                incarnation=0,
                version="0.1.0",
            ),
            self.identity,
            network.network_id,
        )
        self.known: Final[dict[PeerId, Descriptor]] = {}
        """Who welcomed this member, in its present boot."""

        self.heard: Final[list[Message]] = []
        self.sent: Final[list[tuple[bytes, Address]]] = []
        """Every datagram that ``tell`` sent, and where."""

    @property
    def peer_id(self) -> PeerId:
        """Its id."""
        return self.identity.peer_id

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)
        for link in self._links:
            link.close()
        self._socket.close()

    def join(self, addresses: list[Address]) -> None:
        """Introduce itself to the peers at ``addresses``, and wait until each has welcomed it."""

        def all_welcomed() -> bool:
            missing = [address for address in addresses if address not in {d.address for d in self.known.values()}]
            for address in missing:
                self._send(JoinRequest(descriptor=self.descriptor, nonce=7), address, ANY_RECEIVER, keep=True)
            return not missing

        until_blocking(all_welcomed, what="a welcome from each peer")

    def tell(self, peer: Descriptor, message: Message) -> None:
        """Say anything to a peer, addressed to its present boot."""
        import msgspec

        addressed = msgspec.structs.replace(message, receiver_boot=peer.boot)
        self._send(addressed, peer.address, short_id_of(peer.peer_id), keep=True)

    def replay(self) -> None:
        """Send every recorded datagram again, byte for byte, and from now on answer no question about them."""
        self._replays = True
        for datagram, address in list(self.sent):
            self.send_bytes(datagram, address)

    def send_bytes(self, datagram: bytes, address: Address) -> None:
        """Send bytes as they are."""
        with contextlib.suppress(ConnectionRefusedError):
            self._socket.sendto(datagram, (address.host, address.port))

    def _send(self, message: Message, address: Address, receiver: bytes, *, keep: bool) -> None:
        with self._lock:
            datagram = self._sealer.seal(codec.encode(message), receiver)  # type: ignore[arg-type]
        if keep:
            self.sent.append((datagram, address))
        self.send_bytes(datagram, address)

    def _listen(self) -> None:
        while not self._ending:
            try:
                data, source = self._socket.recvfrom(2048)
            except TimeoutError:
                continue
            except OSError:
                if self._ending:
                    return
                continue
            with contextlib.suppress(RemoteProtocolError):
                opened = self._opener.open(data)
                self._take(opened, codec.decode(opened.plaintext), Address(source[0], source[1]))

    def _take(self, opened: Opened, message: Message, source: Address) -> None:
        self.heard.append(message)
        if isinstance(message, JoinReply):
            self.known[message.descriptor.peer_id] = message.descriptor
        elif isinstance(message, BootNotice) and not self._replays:
            request = JoinRequest(receiver_boot=opened.sender_boot, descriptor=self.descriptor, nonce=7)
            self._send(request, source, opened.sender, keep=True)
        elif isinstance(message, Ping):
            ack = Ack(receiver_boot=opened.sender_boot, sequence=message.sequence, wall_ms=int(time.time() * 1000))
            self._send(ack, source, opened.sender, keep=False)

    def _accept(self) -> None:
        while not self._ending:
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            self._links.append(link)
