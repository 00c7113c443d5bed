"""Where planted bugs are looked for: small networks, so that a seed costs seconds."""

from typing import Final

import msgspec

from simulations.catalogue import SCENARIOS, Draw
from simulations.faults import (
    ClockRate,
    DiskLost,
    DiskSlow,
    Hostile,
    Kill,
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
    draw = _draw("hunt-silence", seed)
    outage = PowerCut(at_s=draw.at(0.1), target=draw.shuffled()[0])
    return msgspec.structs.replace(draw.scenario(outage), duration_s=24.0)


def crowd(seed: int) -> Scenario:
    """Many clients write two keys, while clocks drift."""
    draw = _draw("hunt-crowd", seed)
    draws = draw.random()
    rates = (ClockRate(at_s=0.5, target=name, rate=round(draws.uniform(0.97, 1.03), 4)) for name in draw.names)
    busy = Workload(clients=8, operations_per_s=100.0, keys=2, reads=0.3)
    return msgspec.structs.replace(draw.scenario(*rates, workload=busy), duration_s=20.0)


def _draw(name: str, seed: int) -> Draw:
    return Draw(name=name, summary="", nodes=_NODES, seed=seed, duration_s=_DURATION_S, k=_K)
