"""Carries out a fault schedule on a cluster, and writes down what was done to whom.

Targets that a schedule leaves open (``leader``, ``random``) are chosen at the fault's moment. Each fault draws from a
stream of its own, so that removing one from a schedule changes no other's choice.
"""

from collections.abc import Callable, Sequence
from typing import Final

from simulations.cluster import Cluster, SimPeer
from simulations.conditions import Conditions
from simulations.faults import (
    AnyFault,
    ClockJump,
    ClockRate,
    DiskFull,
    DiskLost,
    DiskSlow,
    Elect,
    Hostile,
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
from simulations.record import AppliedFault
from simulations.targets import peers_met

_START_AGAIN_S: Final = 0.1
"""How often a start looks whether the process that is just ending has ended."""


class Nemesis:
    """Owns the schedule of one run."""

    def __init__(
        self,
        cluster: Cluster,
        faults: Sequence[AnyFault],
        *,
        seed: int,
        applied: list[AppliedFault],
        lie: Callable[[Hostile], None],
    ) -> None:
        """Prepare; nothing happens yet.

        Args:
            applied: Takes each fault that was carried out.
            lie: Lets a hostile member loose for the time that the fault says.
        """
        self._cluster = cluster
        self._faults = faults
        self._seed = seed
        self._applied = applied
        self._lie = lie
        self._conditions = Conditions(cluster)
        self._healed = False

    def begin(self) -> None:
        """Set every fault to its moment, counted from now."""
        loop = self._cluster.loop
        origin_s = loop.true_time
        for fault in self._faults:
            loop.at(origin_s + fault.at_s, self._apply, fault)

    def heal(self) -> None:
        """End all faults, and start every peer that does not run. Clocks stay where they were set."""
        self._healed = True
        self._conditions.end_all()
        for peer in self._cluster.peers:
            peer.host.set_rate(1.0)
            self.start(peer)

    def start(self, peer: SimPeer) -> None:
        """Start a peer that does not run; one that is just ending starts again once it has ended."""
        if not peer.is_up:
            self._cluster.start(peer)
        elif peer.asked_to_stop:
            loop = self._cluster.loop
            loop.at(loop.true_time + _START_AGAIN_S, self.start, peer)

    def _apply(self, fault: AnyFault) -> None:
        if self._healed:
            return
        targets = peers_met(fault, self._cluster, seed=self._seed)
        now = self._cluster.loop.true_time
        ended_s = now + ends_at(fault) - fault.at_s
        names = tuple(peer.name for peer in targets)
        self._applied.append(
            AppliedFault(fault=fault, began_s=now, ended_s=ended_s, targets=names, text=describe(fault, names))
        )
        match fault:
            case Pause() | Partition() | OneWayCut() | Links() | DiskSlow() | DiskFull():
                self._cluster.loop.at(ended_s, self._conditions.end, self._conditions.begin(fault, targets))
            case Hostile():
                self._lie(fault)
            case _:
                for peer in targets:
                    self._strike(fault, peer)

    def _strike(self, fault: AnyFault, peer: SimPeer) -> None:
        match fault:
            case Kill():
                self._cluster.kill(peer)
            case PowerCut():
                self._cluster.cut_power(peer)
            case Stop():
                self._cluster.ask_to_stop(peer)
            case Start():
                self.start(peer)
            case ClockJump():
                peer.host.clock.wall_offset_s += fault.by_s
            case ClockRate():
                peer.host.set_rate(fault.rate)
            case DiskLost():
                self._cluster.kill(peer)
                peer.disk.destroy()
            case Elect():
                self._cluster.ask_for_another_leader(peer)
            case _:
                raise AssertionError(f"{fault!r} strikes no peer")
