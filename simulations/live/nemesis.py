"""Carries out a fault schedule on real processes, and writes down what was done to whom."""

import asyncio
import itertools
from collections.abc import Coroutine, Iterable, Sequence
from typing import Any, Final, TypeAlias

from simulations.faults import (
    AnyFault,
    Kill,
    Links,
    OneWayCut,
    Partition,
    Pause,
    PowerCut,
    Start,
    Stop,
    describe,
    ends_at,
)
from simulations.live.fault_plane import FaultPlane
from simulations.live.founding import Keeper
from simulations.live.network import LiveNetwork
from simulations.live.peers import LivePeer
from simulations.record import AppliedFault
from simulations.targets import pairs_cut, peers_met

_END_TIMEOUT_S: Final = 8.0
"""A peer ends within 5 s by itself; one that takes longer is killed."""

_LOOK_PAUSE_S: Final = 0.02

Tasks: TypeAlias = dict[asyncio.Task[None], None]
"""Those of one owner."""


class LiveNemesis:
    """Owns the schedule of one live run, and the tasks that carry it out."""

    def __init__(
        self,
        network: LiveNetwork,
        keeper: Keeper,
        faults: Sequence[AnyFault],
        *,
        seed: int,
        applied: list[AppliedFault],
    ) -> None:
        """Prepare; nothing happens yet. ``applied`` takes each fault that was carried out."""
        self.plane: Final = FaultPlane(network)
        self._network = network
        self._keeper = keeper
        self._faults = sorted(faults, key=lambda fault: fault.at_s)
        self._seed = seed
        self._applied = applied
        self._frozen: dict[str, int] = {}
        """How many pauses hold each peer."""

        self._tasks: Tasks = {}
        self._orders: Tasks = {}
        """Starts that the keeper is at, each to its end: its answers come in the order of the orders."""

        self._failure: BaseException | None = None

    async def start_first(self, names: Sequence[str]) -> None:
        """Start the first peers, and return when they serve.

        Where the network begins in parts, one part starts after the other: until a peer serves nobody can tell it whom
        it must not hear, but those that run already can be told not to hear it.
        """
        at_once = [fault for fault in self._faults if fault.at_s == 0]
        early = [fault for fault in at_once if isinstance(fault, Partition | OneWayCut | Links)]
        for fault in early:
            await self.plane.begin(fault)
        for part in _parts(names, early):
            await self._start([self._network.named[name] for name in part])
            await self.plane.apply()

    def begin(self) -> None:
        """Set every fault to its moment, counted from now."""
        for fault in self._faults:
            self._spawn(self._at(fault.at_s, fault), self._tasks)

    async def heal(self) -> None:
        """End all faults and start every peer that does not run; return when all serve."""
        await _ended(self._tasks)
        await asyncio.gather(*self._orders, return_exceptions=True)
        self._thaw_all()
        await self.plane.end_all()
        self._network.look_at_processes()
        await self._start([peer for peer in self._network.peers if not peer.is_up or peer.asked_to_end])
        self._raise_failure()

    async def close(self) -> None:
        """Let nothing more happen. Idempotent."""
        await _ended(self._tasks)
        await _ended(self._orders)

    # The schedule

    async def _at(self, at_s: float, fault: AnyFault) -> None:
        await asyncio.sleep(at_s - self._network.now_s())
        if isinstance(fault, Partition | OneWayCut | Links):
            self._note(fault, ())
            if fault.at_s > 0:  # else it began before the first peer
                await self.plane.begin(fault)
            await asyncio.sleep(ends_at(fault) - self._network.now_s())
            await self.plane.end(fault)
            return
        if getattr(fault, "target", None) == "leader":
            await self._network.look()
        self._network.look_at_processes()
        targets = peers_met(fault, self._network, seed=self._seed)
        self._note(fault, targets)
        if isinstance(fault, Pause):
            await self._pause(targets, until_s=ends_at(fault))
        elif isinstance(fault, Start):
            await self._start(targets)
        else:
            for peer in targets:
                self._strike(fault, peer)

    def _note(self, fault: AnyFault, targets: Iterable[LivePeer]) -> None:
        now, names = self._network.now_s(), tuple(peer.name for peer in targets)
        lasts_s = ends_at(fault) - fault.at_s
        self._applied.append(
            AppliedFault(
                fault=fault,
                began_s=now,
                ended_s=now + lasts_s,
                targets=names,
                text=describe(fault, names) + _remark(fault),
            )
        )

    def _strike(self, fault: AnyFault, peer: LivePeer) -> None:
        match fault:
            case Kill() | PowerCut():
                peer.kill()
            case Stop():
                peer.ask_to_stop()
            case _:
                raise AssertionError(f"{fault!r} cannot be had on real processes")

    async def _pause(self, targets: Sequence[LivePeer], *, until_s: float) -> None:
        for peer in targets:
            self._frozen[peer.name] = self._frozen.get(peer.name, 0) + 1
            peer.freeze()
        await asyncio.sleep(until_s - self._network.now_s())
        for peer in targets:
            self._frozen[peer.name] -= 1
            if not self._frozen[peer.name]:
                peer.thaw()
        await self.plane.apply()  # meanwhile it could be told nothing

    def _thaw_all(self) -> None:
        self._frozen.clear()
        for peer in self._network.peers:
            peer.thaw()

    # Starting

    async def _start(self, peers: Sequence[LivePeer]) -> None:
        """Start peers that do not run; those that are just ending start once they have ended."""
        ending = [peer for peer in peers if peer.is_up and peer.asked_to_end and not peer.is_starting]
        await asyncio.gather(*(self._has_ended(peer) for peer in ending))
        starting = [peer for peer in peers if not peer.is_up and not peer.is_starting]
        if starting:
            for peer in starting:
                peer.begins()
            # What has been ordered is carried out: who waits for it may be cancelled meanwhile.
            await asyncio.shield(self._spawn(self._carry_out(starting), self._orders))

    async def _carry_out(self, starting: Sequence[LivePeer]) -> None:
        outcomes = await self._keeper.start([peer.name for peer in starting])
        for peer in starting:
            peer.is_starting = False
            peer.look_at_process()
        for outcome in outcomes:
            if not outcome.is_started:
                self._network.endings.append(f"{outcome.name} did not start: {outcome.cause}")
        await self.plane.apply()

    async def _has_ended(self, peer: LivePeer) -> None:
        """Return when a peer that was asked to stop has ended; kill it when it takes too long."""
        ends_s = self._network.now_s() + _END_TIMEOUT_S
        while peer.is_up:
            if self._network.now_s() > ends_s:
                self._network.endings.append(f"{peer.name} did not end within {_END_TIMEOUT_S:.0f} s")
                peer.kill()
            await asyncio.sleep(_LOOK_PAUSE_S)
            peer.look_at_process()

    # Tasks

    def _spawn(self, work: Coroutine[Any, Any, None], owner: Tasks) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        owner[task] = None
        task.add_done_callback(owner.pop)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self._failure = self._failure or task.exception()

    def _raise_failure(self) -> None:
        """Raise what carrying out the schedule came to, if it came to anything."""
        if self._failure is not None:
            raise self._failure


async def _ended(tasks: Tasks) -> None:
    """Cancel tasks and return when they have ended."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)


def _remark(fault: AnyFault) -> str:
    """Return what a real machine does not do of a fault."""
    if isinstance(fault, PowerCut):
        return " (as a kill: the disk loses nothing that was not synced)"
    if isinstance(fault, Links) and fault.bandwidth_bytes_per_s < float("inf"):
        return " (the bandwidth stays as it is)"
    return ""


def _parts(names: Sequence[str], faults: Iterable[AnyFault]) -> list[list[str]]:
    """Return the peers in parts that do not hear each other at all while ``faults`` are in force."""
    cut = dict.fromkeys(itertools.chain.from_iterable(pairs_cut(fault, names) for fault in faults))
    parts: list[list[str]] = []
    for name in names:
        near = [part for part in parts if any((name, other) not in cut or (other, name) not in cut for other in part)]
        parts = [part for part in parts if part not in near] + [[*itertools.chain.from_iterable(near), name]]
    return parts
