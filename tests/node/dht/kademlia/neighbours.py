"""Members, requesters and open peers for tests of the Kademlia part: no more than the ports ask for."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
from kademlia.network import Server

from node.dht.kademlia.members import KademliaNode
from node.dht.kademlia.stock_wire import StockWire
from node.ports import PeerUnreachable
from protocol.dht_messages import FindNode
from protocol.identity import CachingVerifier
from protocol.ids import Digest, PeerId
from protocol.messages import Reply, Request
from protocol.records import UNSIGNED_WRITER, Record
from protocol.statements import Descriptor
from tests.protocol import samples
from tests.waiting import until

LOOPBACK = "127.0.0.1"


class FixedMembers:
    """A membership that a test writes down. Implements ``node.ports.Members``."""

    def __init__(self, local: Descriptor, others: Sequence[Descriptor] = ()) -> None:
        self.local = local.peer_id
        self._known = {each.peer_id: each for each in (local, *others)}

    @property
    def living_ids(self) -> tuple[PeerId, ...]:
        return tuple(sorted(self._known))

    def is_living(self, peer_id: PeerId) -> bool:
        return peer_id in self._known

    def find(self, peer_id: PeerId) -> Descriptor | None:
        return self._known.get(peer_id)

    def is_suspect(self, peer_id: PeerId) -> bool:
        return False

    def add(self, descriptor: Descriptor) -> None:
        self._known[descriptor.peer_id] = descriptor


class Nobody:
    """A requester whom nobody answers. Implements ``node.ports.Requester``."""

    async def request(self, peer_id: PeerId, request: Request, *, timeout_s: float) -> Reply:
        raise PeerUnreachable("nobody answers")

    def usual_round_trip_s(self, peer_id: PeerId) -> float:
        return 0.01


class SealedNetwork:
    """Many ``KademliaNode``s that answer each other's ``FindNode``; silent ones never answer."""

    def __init__(self) -> None:
        self.nodes: dict[PeerId, KademliaNode] = {}
        self.members: dict[PeerId, FixedMembers] = {}
        self.silent: set[PeerId] = set()
        self.asked: list[PeerId] = []
        self.introduced: list[Descriptor] = []

    def add(self, descriptor: Descriptor, known: Sequence[Descriptor]) -> KademliaNode:
        """Add a peer that knows ``known``."""
        members = FixedMembers(descriptor, known)
        node = KademliaNode(
            members=members,
            requester=_SealedRequester(self, descriptor.peer_id),
            verifier=CachingVerifier(),
            network_id=samples.NETWORK_ID,
            introduce=self.introduced.append,
        )
        for each in known:
            node.member_up(each)
        self.nodes[descriptor.peer_id], self.members[descriptor.peer_id] = node, members
        return node


class _SealedRequester:
    def __init__(self, network: SealedNetwork, local: PeerId) -> None:
        self._network = network
        self._local = local

    async def request(self, peer_id: PeerId, request: Request, *, timeout_s: float) -> Reply:
        self._network.asked.append(peer_id)
        if peer_id in self._network.silent:
            await asyncio.sleep(timeout_s)
            raise PeerUnreachable("no answer in time")
        assert isinstance(request, FindNode)
        return self._network.nodes[peer_id].answer_find_node(self._local, request)

    def usual_round_trip_s(self, peer_id: PeerId) -> float:
        return 0.01


class OpenNetwork:
    """Open peers on loopback sockets that all hold the same records, as after replication."""

    def __init__(self) -> None:
        self.peers: list[OpenPeer] = []
        self.records: dict[Digest, Record] = {}
        self.stores: list[tuple[Digest, bytes]] = []
        self.failure: Exception | None = None

    async def store(self, digest: Digest, value: bytes) -> bool:
        """Write an unsigned record above every earlier one."""
        if self.failure is not None:
            raise self.failure
        self.stores.append((digest, value))
        self.put(digest, value)
        return True

    def put(self, digest: Digest, value: bytes) -> None:
        """Write a record by the network's own means."""
        earlier = self.records.get(digest)
        self.records[digest] = record(value, stamp=1 if earlier is None else earlier.stamp + 1)


class OpenPeer(asyncio.DatagramProtocol):
    """A stock wire on a socket of its own."""

    def __init__(self, network: OpenNetwork, number: int) -> None:
        self._network = network
        self._number = number
        self.received: list[bytes] = []
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.losses: list[bool] = []
        """What happens to the next outgoing datagrams: True loses one."""

    async def open(self) -> None:
        """Bind a free port; the peers know each other from now on."""
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(LOOPBACK, 0))
        self.descriptor = samples.descriptor(self._number, port=self.address[1])
        self.members = FixedMembers(self.descriptor)
        self.node = KademliaNode(
            members=self.members,
            requester=Nobody(),
            verifier=CachingVerifier(),
            network_id=samples.NETWORK_ID,
            introduce=lambda descriptor: None,
        )
        self.wire = StockWire(
            node=self.node, read=self._network.records.get, store=self._network.store, send=self.send
        )

    async def close(self) -> None:
        """End the wire, then the socket."""
        await self.wire.stop()
        self._transport.close()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the socket."""
        host, port = self._transport.get_extra_info("sockname")
        return (host, port)

    def know(self, descriptor: Descriptor) -> None:
        """Take a member into the table."""
        self.members.add(descriptor)
        self.node.member_up(descriptor)

    def send(self, datagram: bytes, address: tuple[str, int]) -> None:
        self.sent.append((datagram, address))
        if self.losses and self.losses.pop(0):
            return
        self._transport.sendto(datagram, address)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.received.append(data)
        self.wire.datagram_received(data, (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """Ignore ICMP errors: a test may speak to closed ports."""


@asynccontextmanager
async def open_network(peers: int) -> AsyncIterator[OpenNetwork]:
    """Run ``peers`` open peers that all know each other."""
    network = OpenNetwork()
    try:
        for number in range(1, peers + 1):
            peer = OpenPeer(network, number)
            await peer.open()
            network.peers.append(peer)
        for peer in network.peers:
            for other in network.peers:
                if other is not peer:
                    peer.know(other.descriptor)
        yield network
    finally:
        for peer in network.peers:
            await peer.close()


@asynccontextmanager
async def stock_server(
    *bootstrap: tuple[str, int], wait_timeout_s: float = 5.0, node_id: bytes | None = None
) -> AsyncIterator[Server]:
    """Run a node of the unmodified library on a free port, bootstrapped to ``bootstrap``."""
    server = Server(node_id=node_id)
    await server.listen(0, LOOPBACK)
    server.protocol._wait_timeout = wait_timeout_s
    try:
        if bootstrap:
            assert await server.bootstrap(list(bootstrap)), "nobody answered the stock node"
        yield server
    finally:
        server.stop()


def address_of(server: Server) -> tuple[str, int]:
    """Return the address of a stock node."""
    host, port = server.transport.get_extra_info("sockname")
    return (host, port)


def record(value: bytes, *, stamp: int = 1) -> Record:
    """Return an unsigned record, as a stock node writes it."""
    return Record(author_key=UNSIGNED_WRITER, key="", value=value, stamp=stamp)


class RawNode(asyncio.DatagramProtocol):
    """Somebody with a socket who says what a test wants, right or wrong; answers calls as ``answers`` says."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.answers: dict[str, object] = {}
        """Call → what is answered; other calls stay without an answer."""

    @property
    def calls(self) -> list[str]:
        """Names of the calls that came in."""
        return [msgspec.msgpack.decode(each[21:])[0] for each in self.received if each[:1] == b"\x00"]

    @property
    def replies(self) -> dict[bytes, Any]:
        """What was answered, by message id."""
        return {each[1:21]: msgspec.msgpack.decode(each[21:]) for each in self.received if each[:1] == b"\x01"}

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of the socket."""
        host, port = self._transport.get_extra_info("sockname")
        return (host, port)

    def send(self, datagram: bytes, address: tuple[str, int]) -> None:
        self._transport.sendto(datagram, address)

    def call(self, address: tuple[str, int], name: str, *arguments: object) -> bytes:
        """Send a call; return its message id."""
        message_id = os.urandom(20)
        self.send(b"\x00" + message_id + msgspec.msgpack.encode([name, list(arguments)]), address)
        return message_id

    async def ask(self, address: tuple[str, int], name: str, *arguments: object) -> Any:
        """Send a call and wait for its answer."""
        message_id = self.call(address, name, *arguments)
        await until(lambda: message_id in self.replies)
        return self.replies[message_id]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        self.received.append(data)
        if data[:1] == b"\x00" and (name := msgspec.msgpack.decode(data[21:])[0]) in self.answers:
            self.send(b"\x01" + data[1:21] + msgspec.msgpack.encode(self.answers[name]), (addr[0], addr[1]))

    def error_received(self, exc: Exception) -> None:
        """Ignore ICMP errors: a test may speak to closed ports."""


@asynccontextmanager
async def raw_node(**answers: object) -> AsyncIterator[RawNode]:
    """Run a raw node on a free port."""
    node = RawNode()
    node.answers.update(answers)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: node, local_addr=(LOOPBACK, 0))
    try:
        yield node
    finally:
        transport.close()
