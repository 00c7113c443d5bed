"""Scenarios about peers that come and go."""

from typing import Final

from simulations.catalogue.entry import CatalogueEntry, Draw
from simulations.faults import AnyFault, Kill, PowerCut, Start, Stop
from simulations.scenario import Scenario

_CHURN_EVERY_S: Final = 1.0
_ROLL_OFF_S: Final = 1.0
"""How long a peer of a rolling restart stays away."""


def _churn(draw: Draw) -> Scenario:
    draws = draw.random()
    faults: list[AnyFault] = []
    for number in range(int(0.6 * draw.duration_s / _CHURN_EVERY_S)):
        at_s = round(draw.at(0.15) + number * _CHURN_EVERY_S, 3)
        name = draws.choice(draw.names)
        faults.append(draws.choice((Kill, Stop, PowerCut))(at_s=at_s, target=name))
        faults.append(Start(at_s=round(at_s + draws.uniform(0.2, 8.0), 3), target=name))
    return draw.scenario(*faults)


def _rolling_restart(draw: Draw) -> Scenario:
    pause_s = 0.6 * draw.duration_s / draw.nodes
    faults: list[AnyFault] = []
    for number, name in enumerate(draw.names):
        at_s = round(draw.at(0.15) + number * pause_s, 3)
        faults += [Stop(at_s=at_s, target=name), Start(at_s=round(at_s + _ROLL_OFF_S, 3), target=name)]
    return draw.scenario(*faults)


def _rolling_death(draw: Draw) -> Scenario:
    victims = draw.shuffled()[1:]
    pause_s = 0.6 * draw.duration_s / max(1, len(victims))
    return draw.scenario(
        *(Kill(at_s=round(draw.at(0.15) + number * pause_s, 3), target=name) for number, name in enumerate(victims))
    )


ENTRIES: Final = (
    CatalogueEntry(
        name="churn",
        summary="Every second a peer is killed, stopped or loses power, and starts again some seconds later.",
        make=_churn,
    ),
    CatalogueEntry(
        name="rolling-restart",
        summary="One peer after the other stops in good order and starts again, as in an upgrade.",
        make=_rolling_restart,
    ),
    CatalogueEntry(
        name="rolling-death",
        summary="One peer after the other is killed until a single one is left; then all come back.",
        make=_rolling_death,
    ),
)
