"""Scenarios about beginnings: everybody at once, many after few, all over again, two networks that meet."""

from typing import Final

from simulations.catalogue.entry import CatalogueEntry, Draw
from simulations.faults import Partition, PowerCut, Start
from simulations.scenario import Scenario

_FOUNDERS: Final = 5


def _all_start_at_once(draw: Draw) -> Scenario:
    return draw.scenario(start_over_s=0.0)


def _mass_join(draw: Draw) -> Scenario:
    founders = min(_FOUNDERS, draw.nodes)
    return draw.scenario(Start(at_s=draw.at(0.25), target="all"), begin_with=founders)


def _cold_restart(draw: Draw) -> Scenario:
    return draw.scenario(
        PowerCut(at_s=draw.at(0.4), target="all"),
        Start(at_s=draw.at(0.5), target="all"),
    )


def _two_networks_meet(draw: Draw) -> Scenario:
    order = draw.shuffled()
    half = draw.nodes // 2
    return draw.scenario(Partition(at_s=0.0, groups=(order[:half], order[half:]), for_s=draw.at(0.4)))


ENTRIES: Final = (
    CatalogueEntry(
        name="all-start-at-once",
        summary="All peers start in the same instant and become one network with one leader.",
        make=_all_start_at_once,
    ),
    CatalogueEntry(
        name="mass-join",
        summary="Five peers form a network, and all others join it in the same instant.",
        make=_mass_join,
    ),
    CatalogueEntry(
        name="cold-restart",
        summary="The power fails everywhere at once; later all peers come back with what their disks had synced.",
        make=_cold_restart,
    ),
    CatalogueEntry(
        name="two-networks-meet",
        summary="Two halves start without a way to each other, each with a leader, and meet later.",
        make=_two_networks_meet,
    ),
)
