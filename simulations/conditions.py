"""Faults that last, as a set: what is cut, slow or full follows from which of them are in force.

Two that overlap add up, and the end of one leaves the other: after each change everything is set anew.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import Final

from simulations.cluster import Cluster, SimPeer
from simulations.faults import AnyFault, DiskFull, DiskSlow, Links, OneWayCut, Partition, Pause
from simulations.targets import pairs_cut
from simulations.world.links import LinkQuality

Lasting = tuple[AnyFault, tuple[SimPeer, ...]]
"""A fault and the peers that it was resolved to."""

_SYNC_S: Final = 0.0005


class Conditions:
    """The faults in force on one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._named = {peer.name: peer for peer in cluster.peers}
        self._in_force: list[Lasting] = []
        self._own_links: list[tuple[SimPeer, SimPeer]] = []

    def begin(self, fault: AnyFault, targets: Sequence[SimPeer]) -> Lasting:
        """Let a fault hold; give the answer to ``end``."""
        lasting = (fault, tuple(targets))
        self._in_force.append(lasting)
        if isinstance(fault, Pause):
            for peer in targets:
                peer.host.pause()
        self._set(fault)
        return lasting

    def end(self, lasting: Lasting) -> None:
        """Let a fault be over; idempotent."""
        remaining = [other for other in self._in_force if other is not lasting]
        if len(remaining) == len(self._in_force):
            return
        self._in_force = remaining
        self._set(lasting[0])
        self._resume_free()

    def end_all(self) -> None:
        """Let all faults be over."""
        for lasting in list(self._in_force):
            self.end(lasting)

    def _resume_free(self) -> None:
        frozen = [peer for fault, peers in self._in_force if isinstance(fault, Pause) for peer in peers]
        for peer in self._cluster.peers:
            if peer not in frozen:
                peer.host.resume()

    def _set(self, changed: AnyFault) -> None:
        if isinstance(changed, Partition | OneWayCut):
            self._set_cuts()
        elif isinstance(changed, Links):
            self._set_links()
        elif isinstance(changed, DiskSlow | DiskFull):
            self._set_disks()

    def _set_cuts(self) -> None:
        network = self._cluster.network
        network.heal_all()
        for fault, _ in self._in_force:
            for source, target in pairs_cut(fault, list(self._named)):
                network.cut(self._named[source].host, self._named[target].host)

    def _set_links(self) -> None:
        links = self._cluster.network.links
        in_force = [fault for fault, _ in self._in_force if isinstance(fault, Links)]
        links.set_common_quality(worsened([fault for fault in in_force if not fault.peers]))
        for source, target in self._own_links:
            links.set_quality(source.host, target.host, None)
        touched = self._peers_of(dict.fromkeys(name for fault in in_force for name in fault.peers))
        self._own_links = [
            (source, target)
            for source, target in itertools.permutations(self._cluster.peers, 2)
            if source in touched or target in touched
        ]
        for source, target in self._own_links:
            both = (source.name, target.name)
            quality = worsened([f for f in in_force if not f.peers or any(name in f.peers for name in both)])
            links.set_quality(source.host, target.host, quality)

    def _set_disks(self) -> None:
        for peer in self._cluster.peers:
            peer.disk.is_full, peer.disk.sync_s = False, _SYNC_S
        for fault, peers in self._in_force:
            for peer in peers:
                if isinstance(fault, DiskFull):
                    peer.disk.is_full = True
                elif isinstance(fault, DiskSlow):
                    peer.disk.sync_s = max(peer.disk.sync_s, fault.sync_s)

    def _peers_of(self, names: Iterable[str]) -> list[SimPeer]:
        return [self._named[name] for name in names if name in self._named]


def worsened(faults: Sequence[Links]) -> LinkQuality:
    """Return a healthy link with all of ``faults`` on it."""
    healthy = LinkQuality()
    if not faults:
        return healthy
    return LinkQuality(
        delay_s=healthy.delay_s + sum(fault.delay_s for fault in faults),
        jitter_s=healthy.jitter_s + sum(fault.jitter_s for fault in faults),
        loss=max(fault.loss for fault in faults),
        duplication=max(fault.duplication for fault in faults),
        reordering=max(fault.reordering for fault in faults),
        bandwidth_bytes_per_s=min(fault.bandwidth_bytes_per_s for fault in faults),
    )
