"""A network of whole peers in the virtual world: the program that ships, started on every host.

Only the adapters of ``node.adapters`` differ from the real thing, beside the event loop, the clock and the entropy.
"""

import asyncio
import contextlib
import dataclasses
import os
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from bootstrap.discovery import Discovery, NoDiscovery
from node.adapters import Adapters
from node.config import PeerConfig
from node.errors import OperationError
from node.main import main
from node.peer import Peer
from protocol.config import PROFILES, Profile
from protocol.effects import Event
from protocol.election.election import Election
from protocol.identity import Identity
from protocol.ids import PeerId
from protocol.members.table import MemberTable
from protocol.statements import Address, VoterList, signed
from simulations.discovery import Neighbourhood, VirtualDiscovery
from simulations.disk import HostDisk, OpenDisk, opened
from simulations.memory_records import MemoryRecordStore
from simulations.outside import View, view_of
from simulations.shared_keys import SharedNetwork
from simulations.witness import Witness
from simulations.world.clock import EPOCH_S
from simulations.world.links import LinkQuality
from simulations.world.loop import SimLoop
from simulations.world.network import Network
from simulations.world.process import Host, Process, State

PEER_PORT: Final = 7400
API_PORT: Final = 8400

SEEDS: Final = 3
"""The first peers are everybody's seeds, as ``pair up`` arranges it: islands that form at the start meet there."""

_AREA_S: Final = 0.001
"""Hosts lie in a square of this side: latencies up to 1.4 ms on top of a link's own."""

_HEALTHY: Final = LinkQuality()

_T = TypeVar("_T")


class SimPeer:
    """One host with its disk, and the peer that runs there, if one does."""

    def __init__(self, *, name: str, host: Host, disk: HostDisk, config: PeerConfig) -> None:
        self.name: Final = name
        self.host: Final = host
        self.disk: Final = disk
        self.config = config
        self.peer: Peer | None = None
        """The running peer, once it has bound its sockets."""
        self.failure: BaseException | None = None
        """Why the last run ended by itself."""
        self.stop: asyncio.Event | None = None
        self.asked_to_stop = False
        self.open_disk: OpenDisk | None = None
        self._viewed: tuple[MemberTable, int, View] | None = None
        """The table that was last looked at, its version then, and how it described the living."""

    @property
    def address(self) -> Address:
        """Where the peer port is."""
        return Address(self.host.address, PEER_PORT)

    @property
    def is_up(self) -> bool:
        """Whether a process exists, paused or not."""
        return self.host.process is not None and self.host.process.state is not State.DEAD

    @property
    def peer_id(self) -> PeerId:
        """Id of the peer whose key is on the disk."""
        return self.disk.identity.peer_id

    @property
    def boot(self) -> int:
        """Number of the present or last run."""
        return self.disk.last_boot or 0

    @property
    def losses(self) -> int:
        """How often the disk was lost."""
        return self.disk.losses

    @property
    def records(self) -> MemoryRecordStore:
        """What the disk holds for others."""
        return self.disk.records

    @property
    def election(self) -> Election:
        """The running peer's part in the election."""
        assert self.peer is not None, f"{self.name} runs"
        return self.peer.core.election

    @property
    def table(self) -> MemberTable:
        """The running peer's member table."""
        assert self.peer is not None, f"{self.name} runs"
        return self.peer.core.membership.table


    @property
    def view(self) -> View:
        """How the running peer describes the living; the same object while its table does not change."""
        table = self.table
        if self._viewed is None or self._viewed[0] is not table or self._viewed[1] != table.version:
            self._viewed = (table, table.version, view_of(table))
        return self._viewed[2]

    @property
    def is_running(self) -> bool:
        """Whether the peer has bound its sockets and is not paused."""
        return self.peer is not None and self.host.is_running


class Cluster:
    """Peers of one network, and what can be done to them."""

    def __init__(
        self,
        loop: SimLoop,
        network: Network,
        *,
        count: int,
        seed: int,
        k: int = 8,
        profile: Profile = "local",
        name: str = "sim",
        voters: int = 0,
        zeroconf: bool = True,
    ) -> None:
        """Make ``count`` hosts with fresh disks; nothing runs yet.

        Args:
            voters: How many peers, the first ones, are the fixed voters of a network in *quorum* mode; 0: no such.
            zeroconf: Whether peers hear each other's announcements.
        """
        draws = random.Random(f"{seed}/{name}")
        self.loop: Final = loop
        self.network: Final = network
        self.witness: Final = Witness(lambda: loop.true_time)
        key, admin = draws.randbytes(32), Identity(draws.randbytes(32))
        self.identity: Final = SharedNetwork(
            name=name, key=key, admin_public_key=admin.public_key, mode="quorum" if voters else "available", derived={}
        )
        self.endings: list[str] = []
        """Runs that ended by themselves, described; nobody asked for those."""
        self.guests: Final[list[PeerId]] = []
        """Ids of members that are no peers of this cluster: those that lie."""

        self._neighbourhood = Neighbourhood()
        self._by_address: dict[str, SimPeer] = {}
        self.peers: Final = [self._make_peer(number, draws, k=k, profile=profile) for number in range(count)]
        self._by_name = {peer.name: peer for peer in self.peers}
        seeds = tuple(peer.address for peer in self.peers[:SEEDS])
        for peer in self.peers:
            peer.config = dataclasses.replace(peer.config, seeds=seeds, zeroconf=zeroconf)
        if voters:
            self._appoint(self.peers[:voters], admin, profile)

    # Starting and ending

    def start(self, peer: SimPeer) -> None:
        """Run the program on a host."""
        stop = asyncio.Event()
        peer.peer, peer.failure, peer.stop, peer.asked_to_stop = None, None, stop, False
        task = peer.host.start(self._run(peer, stop))
        task.add_done_callback(lambda done: self._ended(peer, done))

    def kill(self, peer: SimPeer) -> None:
        """SIGKILL: the kernel lives on, what was written is safe or was cut off."""
        peer.host.kill()
        self._gone(peer)

    def cut_power(self, peer: SimPeer) -> None:
        """Take the host's power away."""
        peer.host.cut_power()
        self._gone(peer)

    def ask_to_stop(self, peer: SimPeer) -> None:
        """SIGTERM: the peer says goodbye and ends by itself."""
        if peer.stop is not None and peer.host.process is not None:
            peer.asked_to_stop = True
            peer.host.process.run(peer.stop.set)

    # Looking and asking

    def running(self) -> list[SimPeer]:
        """Return the peers that have bound their sockets and are not paused."""
        return [peer for peer in self.peers if peer.is_running]

    async def ask(self, peer: SimPeer, operation: Callable[[Peer], Awaitable[_T]]) -> _T:
        """Run an operation inside a peer's process and return what it returns.

        A process that dies meanwhile never answers: the caller needs a deadline of its own.
        """
        assert peer.peer is not None and peer.host.process is not None, f"{peer.name} does not run"
        answer: asyncio.Future[_T] = self.loop.create_future()
        running = peer.peer

        async def ask() -> None:
            try:
                result = await operation(running)
            except Exception as error:
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(result)

        process: Process = peer.host.process
        process.run(self.loop.create_task, ask())
        return await answer

    def ask_for_another_leader(self, peer: SimPeer) -> None:
        """Let somebody say ``pair elect`` to a peer; what it answers does not matter."""
        running, process = peer.peer, peer.host.process
        if running is None or process is None:
            return

        async def elect() -> None:
            with contextlib.suppress(OperationError):
                await running.hand_over(None)

        process.run(self.loop.create_task, elect())

    @property
    def epoch_s(self) -> float:
        """Wall-clock seconds since 1970 at true time 0."""
        return EPOCH_S

    @property
    def is_whole(self) -> bool:
        """Whether nothing is cut anywhere."""
        return not self.network.has_cuts

    @property
    def are_links_good(self) -> bool:
        """Whether no link at all is slow or lossy."""
        return self.network.links.are_all(_HEALTHY)

    def is_cut(self, source: str, target: str) -> bool:
        """Return whether nothing gets from one named peer to another."""
        return self.network.is_cut(self._by_name[source].host, self._by_name[target].host)

    def link_is_good(self, source: str, target: str) -> bool:
        """Return whether the link from one named peer to another is neither slow nor lossy."""
        return self.network.links.quality(self._by_name[source].host, self._by_name[target].host) == _HEALTHY

    def clocks_ahead_s(self, at_s: float) -> list[float]:
        """Return how far ahead of true time network time is at each running peer."""
        return [
            peer.peer.core.network_time_ms(peer.host.clock.local(at_s)) / 1000 - EPOCH_S - at_s
            for peer in self.running()
            if peer.peer is not None
        ]

    def peer_at(self, address: str) -> SimPeer | None:
        """Return the peer whose host has ``address``."""
        return self._by_address.get(address)

    # Inside

    def _appoint(self, voters: Sequence[SimPeer], admin: Identity, profile: Profile) -> None:
        """Give every disk the list of voters, as ``pair up --voters`` does."""
        paper = VoterList(
            author_key=admin.public_key,
            version=1,
            voters=tuple(sorted(peer.disk.identity.peer_id for peer in voters)),
            lease_ms=round(PROFILES[profile].lease_s * 1000),
        )
        for peer in self.peers:
            peer.disk.voters = signed(paper, admin, self.identity.network_id)

    def _make_peer(self, number: int, draws: random.Random, *, k: int, profile: Profile) -> SimPeer:
        name = f"peer-{number + 1}"
        host = Host(
            self.loop,
            name=f"{self.identity.name}-{name}" if self.identity.name != "sim" else name,
            address=f"10.{len(self.network.hosts) // 62_500}.{len(self.network.hosts) // 250 % 250}"
            f".{len(self.network.hosts) % 250 + 1}",
            place=(draws.uniform(0, _AREA_S), draws.uniform(0, _AREA_S)),
            seed=draws.getrandbits(64),
        )
        self.network.add(host)
        config = PeerConfig(
            network=self.identity,
            network_folder=Path("/nowhere"),
            name=name,
            bind=host.address,
            port=PEER_PORT,
            api_bind=host.address,
            api_port=API_PORT,
            profile=profile,
            k=k,
        )
        disk = HostDisk(self.witness.identity(draws.randbytes(32)), seed=draws.getrandbits(64))
        peer = SimPeer(name=name, host=host, disk=disk, config=config)
        self._by_address[host.address] = peer
        return peer

    async def _run(self, peer: SimPeer, stop: asyncio.Event) -> None:
        disk = OpenDisk(peer.disk, identity=peer.disk.identity, wall_s=int(time.time()), noise=os.urandom(3))
        peer.open_disk = disk

        def report(event: Event) -> None:
            self.witness.reported(disk.identity.peer_id, event)

        adapters = Adapters(
            open_disk=lambda config: opened(disk, config),
            make_discovery=lambda config, _: self._discovery(peer),
            make_verifier=lambda: self.witness.verifier,
            observe=report,
        )

        def started(running: Peer) -> None:
            peer.peer = running

        await main(peer.config, stop=stop, on_started=started, adapters=adapters)

    def _discovery(self, peer: SimPeer) -> Discovery:
        if not peer.config.zeroconf:
            return NoDiscovery()
        return VirtualDiscovery(self._neighbourhood, peer.address, self._hears(peer))

    def _hears(self, listener: SimPeer) -> Callable[[Address], bool]:
        def hears(address: Address) -> bool:
            speaker = self._by_address.get(address.host)
            return speaker is not None and speaker.is_up and not self.network.is_cut(speaker.host, listener.host)

        return hears

    def _ended(self, peer: SimPeer, task: "asyncio.Task[Any]") -> None:
        if task.cancelled() or not peer.is_up:
            return
        peer.failure = task.exception()
        if peer.failure is not None or (peer.stop is not None and not peer.asked_to_stop):
            self.endings.append(f"{peer.name} at {self.loop.true_time:.3f} s: {peer.failure!r}")
        peer.peer = None
        peer.host.kill()

    def _gone(self, peer: SimPeer) -> None:
        peer.peer = None
        if peer.open_disk is not None:
            disk, peer.open_disk = peer.open_disk, None
            disk.lose_power()
