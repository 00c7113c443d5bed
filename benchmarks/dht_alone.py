"""Thousands of Kademlia nodes without membership: each knows only those that it has met in lookups.

The routing table, the lookup and the messages are those of a peer; what a datagram is sealed with is left out.
"""

import asyncio
import gc
import random
import time
from dataclasses import dataclass
from typing import Final, cast

import msgspec

from node.dht.kademlia.members import KademliaNode
from node.ports import PeerUnreachable
from protocol import codec
from protocol.dht_messages import FindNode, FoundNodes
from protocol.identity import CachingVerifier, Identity
from protocol.ids import Digest, NetworkId, PeerId, kademlia_id_of
from protocol.messages import Reply, Request
from protocol.statements import Address, Descriptor, signed
from simulations.world.entropy import Entropy, installed
from simulations.world.loop import SimLoop
from simulations.world.network import Network
from simulations.world.process import Host

PORT: Final = 7400
COUNT: Final = 8
"""Nearest that a lookup looks for: as many as a record has holders."""

_JOIN_EVERY_S: Final = 0.005
_LOOKUP_TIMEOUT_S: Final = 10.0
_NETWORK_ID: Final = NetworkId(bytes(32))
_AREA_S: Final = 0.01

_clock: Final = time.process_time


@dataclass(frozen=True, slots=True)
class Built:
    """What came out."""

    processor_s: float
    simulated_s: float
    datagrams: int
    contacts: float
    """In a table, on average."""

    recall: float
    """Share of the truly nearest that lookups of random keys found, from everywhere."""


class _Node(asyncio.DatagramProtocol):
    """One node; implements ``node.ports.Members`` and ``node.ports.Requester`` for its own table."""

    def __init__(self, town: "_Town", descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.local = descriptor.peer_id
        self._town = town
        self._known: dict[PeerId, Descriptor] = {self.local: descriptor}
        self._waiting: dict[int, asyncio.Future[Reply]] = {}
        self._asked = 0
        self._transport: asyncio.DatagramTransport | None = None
        self.kademlia = KademliaNode(
            members=self, requester=self, verifier=town.verifier, network_id=_NETWORK_ID, introduce=self.meet
        )

    @property
    def living_ids(self) -> tuple[PeerId, ...]:
        return tuple(sorted(self._known))

    def is_living(self, peer_id: PeerId) -> bool:
        return peer_id in self._known

    def find(self, peer_id: PeerId) -> Descriptor | None:
        return self._known.get(peer_id)

    def is_suspect(self, peer_id: PeerId) -> bool:
        return False

    def expected_count(self) -> int:
        return len(self._known)

    def meet(self, descriptor: Descriptor) -> None:
        """Take a contact into the table."""
        if descriptor.peer_id not in self._known:
            self._known[descriptor.peer_id] = descriptor
            self.kademlia.member_up(descriptor)

    @property
    def contacts(self) -> int:
        """How many others are known."""
        return len(self._known) - 1

    def usual_round_trip_s(self, peer_id: PeerId) -> float:
        return 0.02

    async def request(self, peer_id: PeerId, request: Request, *, timeout_s: float) -> Reply:
        self._asked += 1
        number = self._asked
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        self._send(msgspec.structs.replace(request, receiver_boot=1, request_id=number), self._known[peer_id].address)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiting
        except TimeoutError as error:
            raise PeerUnreachable("no answer") from error
        finally:
            del self._waiting[number]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        message = codec.decode(data)
        sender = self._town.nodes[addr[0]].descriptor
        if isinstance(message, FindNode):
            self.meet(sender)
            found = self.kademlia.answer_find_node(sender.peer_id, message)
            answer = msgspec.structs.replace(found, receiver_boot=1, request_id=message.request_id)
            self._send(answer, sender.address)
        elif isinstance(message, FoundNodes):
            waiting = self._waiting.get(message.request_id)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)

    def _send(self, message: Request | Reply, address: Address) -> None:
        assert self._transport is not None, "it is bound before it speaks"
        self._transport.sendto(codec.encode(message), (address.host, address.port))


class _Town:
    """All nodes, and the clock that they share."""

    def __init__(self, count: int, *, seed: int) -> None:
        self.loop = SimLoop(seed=seed)
        self.network = Network(self.loop, seed=seed)
        self.verifier = CachingVerifier(entries_max=2 * count)
        self.draws = random.Random(seed)
        self.hosts = [self._host(number) for number in range(count)]
        self.nodes = {host.address: _Node(self, self._descriptor(host)) for host in self.hosts}

    def _host(self, number: int) -> Host:
        host = Host(
            self.loop,
            name=f"node-{number}",
            address=f"10.{number // 62_500}.{number // 250 % 250}.{number % 250 + 1}",
            place=(self.draws.uniform(0, _AREA_S), self.draws.uniform(0, _AREA_S)),
            seed=number,
        )
        self.network.add(host)
        return host

    def _descriptor(self, host: Host) -> Descriptor:
        identity = Identity(self.draws.randbytes(32))
        address = Address(host.address, PORT)
        unsigned = Descriptor(
            author_key=identity.public_key, name=host.name, address=address, api=address, boot=1, incarnation=0,
            version="",
        )  # fmt: skip
        return signed(unsigned, identity, _NETWORK_ID)

    async def grow(self) -> None:
        """Let one node after the other join through one that is there."""
        everybody = list(self.nodes.values())
        joining = []
        for number, (host, node) in enumerate(zip(self.hosts, everybody, strict=True)):
            through = everybody[self.draws.randrange(number)] if number else None
            joined: asyncio.Future[None] = self.loop.create_future()
            joining.append(joined)
            host.start(_serve(node, through, joined))
            await asyncio.sleep(_JOIN_EVERY_S)
        await asyncio.gather(*joining)

    async def recall(self, lookups: int) -> float:
        """Return how much of the truth lookups find."""
        everybody = list(self.nodes.values())
        places = {node.local: int.from_bytes(kademlia_id_of(node.local), "big") for node in everybody}
        found = 0
        for _ in range(lookups):
            digest = Digest(self.draws.randbytes(20))
            target = int.from_bytes(digest, "big")
            nearest = sorted(places, key=lambda peer_id: places[peer_id] ^ target)[:COUNT]
            asker = everybody[self.draws.randrange(len(everybody))]
            answers = await asker.kademlia.lookup(digest, COUNT, timeout_s=_LOOKUP_TIMEOUT_S)
            found += sum(contact.peer_id in nearest for contact in answers)
        return found / (lookups * min(COUNT, len(everybody)))


async def _serve(node: _Node, through: _Node | None, joined: "asyncio.Future[None]") -> None:
    """Run one node: join, then answer for ever."""
    loop = asyncio.get_running_loop()
    address = (node.descriptor.address.host, PORT)
    await loop.create_datagram_endpoint(lambda: node, local_addr=address)
    if through is not None:
        node.meet(through.descriptor)
        await node.kademlia.lookup(kademlia_id_of(node.local), COUNT, timeout_s=_LOOKUP_TIMEOUT_S)
    joined.set_result(None)
    await asyncio.Event().wait()


def build(count: int, seed: int, lookups: int) -> Built:
    """Build a DHT of ``count`` nodes, and try it."""
    began = _clock()
    gc.disable()
    town = _Town(count, seed=seed)
    with installed(Entropy(town.loop, seed=seed)):
        town.loop.run_until_complete(town.grow())
        spent_s, grown_s, datagrams = _clock() - began, town.loop.true_time, town.network.counts["sent"]
        recall = town.loop.run_until_complete(town.recall(lookups))
    contacts = sum(node.contacts for node in town.nodes.values()) / count
    return Built(spent_s, grown_s, datagrams, contacts, recall)
