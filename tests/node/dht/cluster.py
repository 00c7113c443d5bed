"""Many peers' DHTs in one loop, joined by a network that delays, loses, cuts and kills as it is told.

Messages are encoded and decoded as on the wire. Everything random comes from one seed.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from node.dht import Dht
from node.ports import PeerUnreachable
from protocol import codec
from protocol.identity import CachingVerifier, Identity
from protocol.ids import Digest, PeerId, key_digest
from protocol.messages import Refusal, Reply, Request
from protocol.network import NetworkIdentity
from protocol.placement import Placement
from protocol.records import Record
from protocol.statements import Descriptor
from simulations.memory_records import MemoryRecordStore
from tests.protocol import samples

START_MS = 1_800_000_000_000
ROUND_TRIP_GUESS_S = 0.02


class FakeMembers:
    """One peer's view of the members, set by the cluster."""

    def __init__(self, local: PeerId) -> None:
        self.local = local
        self.known: dict[PeerId, Descriptor] = {}
        self.living: set[PeerId] = set()
        self.suspects: set[PeerId] = set()

    @property
    def living_ids(self) -> tuple[PeerId, ...]:
        return tuple(sorted(self.living))

    def is_living(self, peer_id: PeerId) -> bool:
        return peer_id in self.living

    def find(self, peer_id: PeerId) -> Descriptor | None:
        return self.known.get(peer_id)

    def is_suspect(self, peer_id: PeerId) -> bool:
        return peer_id in self.suspects

    def expected_count(self) -> int:
        return len(self.known)


class FakePeer:
    """One peer: its identity and disk outlive its DHT."""

    def __init__(self, cluster: "Cluster", number: int) -> None:
        self.cluster = cluster
        self.number = number
        self.identity: Identity = samples.identity(number)
        self.peer_id = self.identity.peer_id
        self.store: Any = MemoryRecordStore()
        self.members = FakeMembers(self.peer_id)
        self.clock_error_ms = 0
        self.boot = 0
        self.runs = False
        self.answers: Callable[[PeerId, Request], Reply | None] = lambda sender, request: None
        """Replaces the DHT's own answer to a request, for hostile or deaf peers."""

        self.asked: dict[str, int] = {}
        self.round_trips: dict[PeerId, float] = {}
        self._pending: dict[int, tuple[PeerId, asyncio.Future[Reply]]] = {}

    def begin(self) -> None:
        """Make a new DHT on this peer's disk; ``dht.start`` comes next."""
        self.boot += 1
        self.runs = True
        self.dht = Dht(
            identity=self.identity,
            network=self.cluster.network,
            members=self.members,
            requester=self,
            store=self.store,
            time=self,
            verifier=CachingVerifier(),
            random=random.Random(self.cluster.seed * 1000 + self.number),
            k=self.cluster.k,
        )

    def now_ms(self) -> int:
        return START_MS + int(asyncio.get_running_loop().time() * 1000) + self.clock_error_ms

    # node.ports.Requester

    async def request(self, peer_id: PeerId, request: Request, *, timeout_s: float) -> Reply:
        if peer_id not in self.members.known:
            raise PeerUnreachable("not a member")
        name = type(request).__name__
        self.asked[name] = self.asked.get(name, 0) + 1
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Reply] = loop.create_future()
        number = self.cluster.random.getrandbits(63)
        self._pending[number] = (peer_id, future)
        started = loop.time()
        sending = loop.create_task(self.cluster.carry(self, peer_id, request, future))
        try:
            async with asyncio.timeout(timeout_s):
                reply = await future
        except TimeoutError as error:
            raise PeerUnreachable("no answer in time") from error
        finally:
            del self._pending[number]
            sending.cancel()
        self.round_trips[peer_id] = loop.time() - started
        return reply

    def usual_round_trip_s(self, peer_id: PeerId) -> float:
        known = self.round_trips.get(peer_id)
        return ROUND_TRIP_GUESS_S if known is None else 2 * known

    def member_down(self, peer_id: PeerId) -> None:
        """Fail what is under way to a member, as the exchange does, and tell the DHT."""
        for asked, future in self._pending.values():
            if asked == peer_id and not future.done():
                future.set_exception(PeerUnreachable("failed"))
        self.dht.member_down(peer_id)


class Cluster:
    """All peers and the network between them."""

    def __init__(self, count: int, *, k: int = 8, seed: int = 1, network: NetworkIdentity = samples.NETWORK) -> None:
        self.k = k
        self.seed = seed
        self.random = random.Random(seed)
        self.network = network
        self.peers = [FakePeer(self, number) for number in range(1, count + 1)]
        self.by_id = {peer.peer_id: peer for peer in self.peers}
        self.delay_s = (0.0001, 0.0004)
        self.loss = 0.0
        self.cut: set[tuple[PeerId, PeerId]] = set()
        self.paused: set[PeerId] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> "Cluster":
        for peer in self.peers:
            self._know(peer, self.peers)
            peer.begin()
        for peer in self.peers:
            await peer.dht.start()
        await asyncio.sleep(3.0)  # until settled
        return self

    async def __aexit__(self, *_: object) -> None:
        for peer in self.peers:
            if peer.runs:
                await peer.dht.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _know(self, peer: FakePeer, others: Iterable[FakePeer]) -> None:
        for other in others:
            peer.members.known[other.peer_id] = samples.descriptor(other.number)
            peer.members.living.add(other.peer_id)

    # The network

    async def carry(self, sender: FakePeer, to: PeerId, request: Request, future: "asyncio.Future[Reply]") -> None:
        """Send as the exchange does: again and again with doubling pauses, until cancelled."""
        data = codec.encode_large(request)
        pause_s = 0.1
        while not future.done():
            task = asyncio.get_running_loop().create_task(self._deliver(sender, to, data, future))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await asyncio.sleep(pause_s)
            pause_s = min(1.5, 2 * pause_s)

    async def _deliver(self, sender: FakePeer, to: PeerId, data: bytes, future: "asyncio.Future[Reply]") -> None:
        receiver = self.by_id[to]
        boot = receiver.boot
        await asyncio.sleep(self.random.uniform(*self.delay_s))
        if not self._passes(sender, receiver) or receiver.boot != boot:
            return
        request = codec.decode_large(data)
        assert isinstance(request, Request)
        reply = receiver.answers(sender.peer_id, request)
        if reply is None:
            if sender.peer_id not in receiver.members.known:
                reply = Refusal(reason="not a member here")
            else:
                answer = receiver.dht.handle(sender.peer_id, request)
                reply = answer if isinstance(answer, Reply) else await answer
        encoded = codec.encode_large(msgspec.structs.replace(reply, request_id=1))
        await asyncio.sleep(self.random.uniform(*self.delay_s))
        if self._passes(receiver, sender) and receiver.boot == boot and not future.done():
            decoded = codec.decode_large(encoded)
            assert isinstance(decoded, Reply)
            future.set_result(decoded)

    def _passes(self, sender: FakePeer, receiver: FakePeer) -> bool:
        if not (sender.runs and receiver.runs) or (sender.peer_id, receiver.peer_id) in self.cut:
            return False
        if sender.peer_id in self.paused or receiver.peer_id in self.paused:
            return False
        return self.random.random() >= self.loss

    # Faults

    def kill(self, *peers: FakePeer) -> None:
        """End peers without a word; their disks stay. Nobody is told yet (``verdict``)."""
        for peer in peers:
            peer.runs = False
            task = asyncio.get_running_loop().create_task(peer.dht.stop())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def verdict(self, *fallen: FakePeer) -> None:
        """Let all running peers find out that ``fallen`` are dead."""
        for peer in self.peers:
            if peer.runs and peer not in fallen:
                self.part(peer, fallen)

    def part(self, peer: FakePeer, fallen: Iterable[FakePeer]) -> None:
        """Let one peer believe that others are dead."""
        gone = [each for each in fallen if each.peer_id in peer.members.living]
        peer.members.living.difference_update(each.peer_id for each in gone)
        for each in gone:
            peer.member_down(each.peer_id)

    def meet(self, peer: FakePeer, others: Iterable[FakePeer]) -> None:
        """Let one peer find others alive."""
        others = [other for other in others if other is not peer]
        self._know(peer, others)
        for other in others:
            peer.dht.member_up(samples.descriptor(other.number))

    async def restart(self, *peers: FakePeer) -> None:
        """Start killed peers on their disks and introduce them to all."""
        for peer in peers:
            peer.members.living = {each.peer_id for each in self.peers if each.runs} | {peer.peer_id}
            peer.begin()
            await peer.dht.start()
        for peer in self.peers:
            if peer.runs:
                self.meet(peer, peers)
        for peer in peers:
            self.meet(peer, [each for each in self.peers if each.runs])

    async def join(self) -> FakePeer:
        """Start one more peer with an empty disk."""
        peer = FakePeer(self, len(self.peers) + 1)
        self.peers.append(peer)
        self.by_id[peer.peer_id] = peer
        self._know(peer, [peer])
        peer.begin()
        await peer.dht.start()
        running = [each for each in self.peers if each.runs]
        self.meet(peer, running)
        for other in running:
            self.meet(other, [peer])
        return peer

    def divide(self, *sides: Sequence[FakePeer]) -> None:
        """Cut the network into sides; with ``verdict`` between them given by ``part``."""
        for side in sides:
            others = [peer for peer in self.peers if peer not in side]
            self.cut.update((peer.peer_id, other.peer_id) for peer in side for other in others)

    def heal(self) -> None:
        """Join all sides again, and let everybody find that the others live."""
        self.cut.clear()
        for peer in self.peers:
            if peer.runs:
                running = {each.peer_id: each for each in self.peers if each.runs}
                self.meet(peer, [each for peer_id, each in running.items() if peer_id not in peer.members.living])

    # What is where

    def place_of(self, key: str) -> Digest:
        return key_digest(key, open_network=self.network.open)

    def holders(self, key: str, among: Iterable[FakePeer] | None = None) -> list[FakePeer]:
        """Return who should hold ``key``, closest first."""
        peers = [peer for peer in (self.peers if among is None else among) if peer.runs]
        ids = Placement(sorted(peer.peer_id for peer in peers)).closest(self.place_of(key), self.k)
        return [self.by_id[peer_id] for peer_id in ids]

    def stranger_to(self, key: str) -> FakePeer:
        """Return a running peer that does not hold ``key``."""
        holders = self.holders(key)
        return next(peer for peer in self.peers if peer.runs and peer not in holders)

    def copies(self, key: str) -> dict[int, Record]:
        """Return the stored versions of ``key`` by peer number, of running peers."""
        place = self.place_of(key)
        found = {peer.number: peer.store.read(place) for peer in self.peers if peer.runs}
        return {number: record for number, record in found.items() if record is not None}

    def requests(self, *names: str) -> int:
        """Return how many requests of these kinds were sent, or of all kinds."""
        return sum(
            count for peer in self.peers for name, count in peer.asked.items() if not names or name in names
        )


async def put(peer: FakePeer, key: str, value: bytes, **options: Any) -> Any:
    """Put with the usual options."""
    return await peer.dht.put(key, value, **{"ttl_s": None, "if_version": None, "timeout_s": 10.0} | options)


async def get(peer: FakePeer, key: str, **options: Any) -> Any:
    """Get with the usual options."""
    return await peer.dht.get(key, **{"quorum": False, "timeout_s": 10.0} | options)


async def delete(peer: FakePeer, key: str, **options: Any) -> Any:
    """Delete with the usual options."""
    return await peer.dht.delete(key, **{"if_version": None, "timeout_s": 10.0} | options)
