"""Where planted bugs are looked for: small networks, so that a seed costs seconds."""

import itertools
from typing import Final

import msgspec

from protocol.election.quorum import CLOCK_RATE_MAX, CLOCK_RATE_MIN
from simulations.catalogue import SCENARIOS, Draw
from simulations.faults import (
    AnyFault,
    ClockRate,
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
)
from simulations.scenario import Scenario, Workload

_NODES: Final = 7
_K: Final = 3
_DURATION_S: Final = 16.0
_RESTARTED_AFTER_S: Final = 1.0
_VOTERS: Final = 3
_BY_NOW_UNITED_S: Final = 3.0


def swizzle(seed: int) -> Scenario:
    """Everything at random."""
    drawn = SCENARIOS["swizzle"].make(_draw("swizzle", seed))
    return msgspec.structs.replace(drawn, name="hunt-swizzle")


def cuts(seed: int) -> Scenario:
    """Two halves, a leader that freezes, a peer that nobody hears."""
    draw = _draw("hunt-cuts", seed)
    draws, order = draw.random(), draw.shuffled()
    few = draws.randint(1, 3)
    return draw.scenario(
        Partition(at_s=draw.at(0.1), groups=(order[:few], order[few:]), for_s=draws.uniform(4.0, 7.0)),
        Pause(at_s=draw.at(0.7), target="leader", for_s=draws.uniform(0.5, 2.0)),
        OneWayCut(at_s=draw.at(0.85), sources=order[:1], targets=order[1:], for_s=draws.uniform(1.0, 2.0)),
    )


def lies(seed: int) -> Scenario:
    """A lying member, while others come and go."""
    draw = _draw("hunt-lies", seed)
    order = draw.shuffled()
    everything = Hostile(
        at_s=draw.at(0.1),
        lies=("forged-members", "stale-records", "inflated-terms", "forged-certificates", "replays"),
        for_s=draw.at(0.6),
    )
    return draw.scenario(
        everything,
        Kill(at_s=draw.at(0.3), target="leader"),
        Stop(at_s=draw.at(0.5), target=order[0]),
        *(Start(at_s=draw.at(share) + _RESTARTED_AFTER_S, target="all") for share in (0.3, 0.5)),
    )


def deaths(seed: int) -> Scenario:
    """Peers die and return, some with an empty disk; disks are slow."""
    draw = _draw("hunt-deaths", seed)
    draws, order = draw.random(), draw.shuffled()
    return draw.scenario(
        *(DiskSlow(at_s=draw.at(0.05), target=name, sync_s=0.05, for_s=draw.at(0.8)) for name in order[:2]),
        PowerCut(at_s=draw.at(0.2), target=order[0]),
        Kill(at_s=draw.at(0.35), target=order[1]),
        Start(at_s=draw.at(0.5), target="all"),
        DiskLost(at_s=draw.at(0.6), target=order[2]),
        Start(at_s=draw.at(0.65), target="all"),
        PowerCut(at_s=draw.at(draws.uniform(0.8, 0.9)), target="all"),
    )


def silence(seed: int) -> Scenario:
    """A peer loses its power for long: nobody is told, so all have to find out."""
    draw = _draw("hunt-silence", seed, duration_s=24.0)
    return draw.scenario(PowerCut(at_s=1.6, target=draw.shuffled()[0]))


def crowd(seed: int) -> Scenario:
    """Many clients write two keys, while clocks drift."""
    draw = _draw("hunt-crowd", seed, duration_s=20.0)
    draws = draw.random()
    rates = (ClockRate(at_s=0.5, target=name, rate=round(draws.uniform(0.97, 1.03), 4)) for name in draw.names)
    busy = Workload(clients=8, operations_per_s=100.0, keys=2, reads=0.3)
    return draw.scenario(*rates, workload=busy)


def rivals(seed: int) -> Scenario:
    """Half of all datagrams are lost and some come late, while leaders die and freeze: candidates miss each other."""
    draw = _draw("hunt-rivals", seed)
    draws = draw.random()
    links = (
        Links(at_s=1.0, delay_s=0.01, jitter_s=0.01, loss=0.5, duplication=0.1, for_s=draw.at(0.9)),
        Links(at_s=1.0, peers=draw.shuffled()[:2], jitter_s=0.4, for_s=draw.at(0.9)),
    )
    blows = [
        draws.choice((Kill(at_s=at_s, target="leader"), Pause(at_s=at_s, target="leader", for_s=1.0)))
        for at_s in (2.0, 4.0, 6.0, 8.0, 10.0, 12.0)
    ]
    return draw.scenario(*links, *blows, *(Start(at_s=blow.at_s + _RESTARTED_AFTER_S, target="all") for blow in blows))


def growth(seed: int) -> Scenario:
    """A few found a network, and so many join that the votes of the founders are no majority any more."""
    draw = _draw("hunt-growth", seed)
    return draw.scenario(Start(at_s=draw.at(draw.random().uniform(0.2, 0.4)), target="all"), begin_with=4)


def islands(seed: int) -> Scenario:
    """Two halves give each other up, and nobody hears announcements."""
    draw = _draw("hunt-islands", seed)
    order, half = draw.shuffled(), _NODES // 2
    return draw.scenario(
        Partition(at_s=_BY_NOW_UNITED_S, groups=(order[:half], order[half:]), for_s=draw.at(0.7)), zeroconf=False
    )


def voters(seed: int) -> Scenario:
    """Fixed voters with the fastest and slowest clocks lose one another: first one its leader, then all theirs.

    Before that they hand the lead over, back and forth.
    """
    draw = _draw("hunt-voters", seed, duration_s=24.0)
    names, draws = draw.names[:_VOTERS], draw.random()
    pairs = draws.sample(list(itertools.permutations(names, 2)), _VOTERS * (_VOTERS - 1))
    cuts_of_pairs = [
        cut
        for turn, (left, right) in enumerate(pairs)
        for cut in _lost_one_by_one(draw, left, right, at_s=5.0 + 3.0 * turn)
    ]
    return draw.scenario(
        *_rates(draw),
        *(Elect(at_s=_BY_NOW_UNITED_S + 0.4 * turn, target="leader") for turn in range(4)),
        *cuts_of_pairs,
        voters=_VOTERS,
    )


def restarted_voters(seed: int) -> Scenario:
    """One fixed voter after the other is cut off, while the other two die and start again at once.

    With the leases of a larger network, so that one lasts longer than such a start, and without anybody else, who
    would tell them whom they followed.
    """
    draw = _draw("hunt-restarted-voters", seed, duration_s=24.0, nodes=_VOTERS)
    names, draws = draw.names[:_VOTERS], draw.random()
    faults: list[AnyFault] = [*_rates(draw)]
    for turn in range(2 * _VOTERS):
        at_s, alone = _BY_NOW_UNITED_S + 3.0 * turn, names[turn % _VOTERS]
        faults.append(Partition(at_s=at_s, groups=(tuple(name for name in draw.names if name != alone),), for_s=1.2))
        killed_s = at_s + draws.uniform(0.0, 0.2)
        faults += [Kill(at_s=killed_s, target=name) for name in names if name != alone]
        faults.append(Start(at_s=killed_s + 0.01, target="all"))
    return draw.scenario(*faults, voters=_VOTERS, profile="lan")


def _rates(draw: Draw) -> list[ClockRate]:
    draws = draw.random()
    return [
        ClockRate(at_s=0.1, target=name, rate=draws.choice((CLOCK_RATE_MIN, CLOCK_RATE_MAX))) for name in draw.names
    ]


def _lost_one_by_one(draw: Draw, leader: str, voter: str, *, at_s: float) -> list[Partition]:
    """Cut one voter off from whom it may follow, and a little later everybody."""
    others = {name: tuple(other for other in draw.names if other != name) for name in (leader, voter)}
    return [
        Partition(at_s=at_s, groups=(others[leader], others[voter]), for_s=1.4),
        Partition(at_s=at_s + 1.0, groups=((leader,), others[leader]), for_s=0.7),
    ]


def _draw(name: str, seed: int, *, duration_s: float = _DURATION_S, nodes: int = _NODES) -> Draw:
    return Draw(name=name, summary="", nodes=nodes, seed=seed, duration_s=duration_s, k=_K)
