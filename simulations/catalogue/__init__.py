"""The scenarios that ship, by name; each has a page under ``docs/scenarios/``."""

from collections.abc import Mapping
from typing import Final

from simulations.catalogue import cuts, deaths, leaders, machines, starting, swizzle, voters
from simulations.catalogue.entry import CatalogueEntry, Draw, k_of
from simulations.scenario import Scenario

__all__ = ["DURATION_S", "NODES", "SCENARIOS", "CatalogueEntry", "Draw", "scenario_of"]

NODES: Final = 15
"""Peers when nobody says how many."""

DURATION_S: Final = 60.0

SCENARIOS: Final[Mapping[str, CatalogueEntry]] = {
    entry.name: entry
    for entry in (
        *starting.ENTRIES,
        *leaders.ENTRIES,
        *voters.ENTRIES,
        *cuts.ENTRIES,
        *deaths.ENTRIES,
        *machines.ENTRIES,
        *swizzle.ENTRIES,
    )
}


def scenario_of(name: str, *, seed: int, nodes: int = NODES, duration_s: float = DURATION_S) -> Scenario:
    """Return the scenario of that name for a seed.

    Raises:
        KeyError: There is no such scenario.
    """
    entry = SCENARIOS[name]
    return entry.make(
        Draw(name=name, summary=entry.summary, nodes=nodes, seed=seed, duration_s=duration_s, k=k_of(seed, nodes))
    )
