"""What can be had on real processes, and what not."""

from typing import Final

from simulations.catalogue import CatalogueEntry
from simulations.catalogue.entry import Draw
from simulations.faults import AnyFault
from simulations.scenario import Scenario

LIVE_NODES: Final = 7
"""Peers of a live run when nobody says how many: each is a process."""

LIVE_NODES_MAX: Final = 100
LIVE_DURATION_S: Final = 20.0
"""Seconds of a live run when nobody says how many: they are real ones."""

_SEEDS_LOOKED_AT: Final = 20
"""A scenario whose faults are drawn runs live when those of all these seeds can be had."""


def impossible_faults(scenario: Scenario) -> list[str]:
    """Return the kinds of faults of a scenario that real processes on one machine cannot have, each once."""
    return list(dict.fromkeys(kind_of(fault) for fault in scenario.faults if not fault.is_live))


def runs_live(entry: CatalogueEntry) -> bool:
    """Return whether a scenario of the catalogue can be played on real processes."""
    draws = (
        Draw(
            name=entry.name,
            summary=entry.summary,
            nodes=LIVE_NODES,
            seed=seed,
            duration_s=LIVE_DURATION_S,
            k=LIVE_NODES,
        )
        for seed in range(_SEEDS_LOOKED_AT)
    )
    return not any(impossible_faults(entry.make(draw)) for draw in draws)


def kind_of(fault: AnyFault) -> str:
    """Return the name of a fault's kind, as scenario files have it."""
    return str(type(fault).__struct_config__.tag)
