"""The scenarios that ship, by name."""

from collections.abc import Mapping
from typing import Final

from simulations.catalogue import leaders
from simulations.catalogue.entry import CatalogueEntry, Draw, k_of
from simulations.scenario import Scenario

__all__ = ["SCENARIOS", "CatalogueEntry", "Draw", "scenario_of"]

SCENARIOS: Final[Mapping[str, CatalogueEntry]] = {entry.name: entry for entry in leaders.ENTRIES}


def scenario_of(name: str, *, seed: int, nodes: int = 15, duration_s: float | None = None) -> Scenario:
    """Return the scenario of that name for a seed.

    Raises:
        KeyError: There is no such scenario.
    """
    entry = SCENARIOS[name]
    draw = Draw(nodes=nodes, seed=seed, duration_s=duration_s or entry.duration_s, k=k_of(seed, nodes))
    return entry.make(draw)
