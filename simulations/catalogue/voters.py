"""The scenario about a network in *quorum* mode: fixed voters that die, freeze and lose each other."""

from typing import Final

from protocol.election.quorum import CLOCK_RATE_MAX, CLOCK_RATE_MIN
from simulations.catalogue.entry import CatalogueEntry, Draw
from simulations.faults import ClockRate, Kill, Partition, Pause, Start
from simulations.scenario import Scenario

_VOTERS: Final = 3


def _fixed_voters(draw: Draw) -> Scenario:
    voters = min(_VOTERS, draw.nodes)
    names = draw.names[:voters]
    draws = draw.random()
    alone = draws.choice(names)
    rates = [
        ClockRate(at_s=draw.at(0.05), target=name, rate=draws.choice((CLOCK_RATE_MIN, CLOCK_RATE_MAX)))
        for name in names
    ]
    return draw.scenario(
        *rates,
        Kill(at_s=draw.at(0.15), target="leader"),
        Start(at_s=draw.at(0.25), target="all"),
        Pause(at_s=draw.at(0.35), target="leader", for_s=draw.at(0.05)),
        Partition(
            at_s=draw.at(0.5),
            groups=((alone,), tuple(name for name in draw.names if name != alone)),
            for_s=draw.at(0.1),
        ),
        *(Kill(at_s=draw.at(0.7), target=name) for name in names[: voters // 2 + 1]),
        Start(at_s=draw.at(0.85), target="all"),
        voters=voters,
    )


ENTRIES: Final = (
    CatalogueEntry(
        name="fixed-voters",
        summary="Three fixed voters with fast and slow clocks die, freeze and are cut off; without two nobody leads.",
        make=_fixed_voters,
    ),
)
