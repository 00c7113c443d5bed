"""Scenarios about leaders that go away."""

from typing import Final

from simulations.catalogue.entry import CatalogueEntry, Draw
from simulations.faults import Kill, Pause, Start
from simulations.scenario import Expectations, Scenario

_STORM_EVERY_S: Final = 1.5


def _leader_crash(draw: Draw) -> Scenario:
    return draw.scenario(
        Kill(at_s=draw.at(0.3), target="leader"),
        Start(at_s=draw.at(0.6), target="all"),
        expect=Expectations(ok_share=0.9 if draw.nodes >= 5 else 0.0),
    )


def _leader_pause(draw: Draw) -> Scenario:
    return draw.scenario(
        Pause(at_s=draw.at(0.25), target="leader", for_s=draw.at(0.1)),
        Pause(at_s=draw.at(0.6), target="leader", for_s=min(0.3, draw.at(0.1))),
    )


def _leader_crash_storm(draw: Draw) -> Scenario:
    first_s, last_s = draw.at(0.2), draw.at(0.6)
    deaths = min(max(draw.nodes - 1, 0), int((last_s - first_s) / _STORM_EVERY_S))
    return draw.scenario(
        *(Kill(at_s=first_s + number * _STORM_EVERY_S, target="leader") for number in range(deaths)),
        Start(at_s=draw.at(0.75), target="all"),
    )


ENTRIES: Final = (
    CatalogueEntry(
        name="leader-crash",
        summary="The leader is killed and another takes over; later the old one comes back as a follower.",
        make=_leader_crash,
    ),
    CatalogueEntry(
        name="leader-pause",
        summary="The leader freezes for long, wakes up deposed, and its successor freezes for a moment.",
        make=_leader_pause,
    ),
    CatalogueEntry(
        name="leader-crash-storm",
        summary="Every new leader is killed one and a half seconds after the last, until few are left.",
        make=_leader_crash_storm,
    ),
)
