"""Whom a fault meets: the same choice on simulated and on real peers, as far as both stand alike."""

import itertools
import random
from collections.abc import Sequence
from typing import TypeVar

from simulations.faults import AnyFault, ClockJump, ClockRate, DiskFull, DiskLost, DiskSlow, OneWayCut, Partition, Start
from simulations.looking import most_followed
from simulations.outside import NetworkSeen, PeerSeen

PeerT = TypeVar("PeerT", bound=PeerSeen)


def peers_met(fault: AnyFault, network: NetworkSeen[PeerT], *, seed: int) -> tuple[PeerT, ...]:
    """Return the peers that a fault meets now."""
    target = getattr(fault, "target", None)
    if target is None:
        return ()
    if isinstance(fault, Start):
        candidates = [peer for peer in network.peers if not peer.is_up or target == peer.name]
    elif isinstance(fault, ClockJump | ClockRate | DiskSlow | DiskFull | DiskLost):
        candidates = list(network.peers)
    else:
        candidates = [peer for peer in network.peers if peer.is_up]
    if target == "all":
        return tuple(candidates)
    if target == "leader":
        leader = most_followed(network)
        return (leader,) if leader is not None else ()
    if target == "random":
        draws = random.Random(f"{seed}/{type(fault).__name__}/{fault.at_s!r}")
        return (draws.choice(candidates),) if candidates else ()
    return tuple(peer for peer in candidates if peer.name == target)


def pairs_cut(fault: AnyFault, names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of peers of which nothing gets from the first to the second while a fault lasts."""
    if isinstance(fault, OneWayCut):
        sources = [name for name in fault.sources if name in names]
        targets = [name for name in fault.targets if name in names]
        return [(source, target) for source in sources for target in targets if source != target]
    if not isinstance(fault, Partition):
        return []
    groups = [frozenset(group) for group in fault.groups]
    pairs = itertools.permutations(names, 2)
    return [(a, b) for a, b in pairs if not any(a in group and b in group for group in groups)]
