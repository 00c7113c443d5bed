"""Scenarios around the leader."""

from typing import Final

from simulations.catalogue.entry import CatalogueEntry, Draw
from simulations.faults import Kill, Start
from simulations.scenario import Scenario


def leader_crash(draw: Draw) -> Scenario:
    return Scenario(
        name="leader-crash",
        summary="",
        nodes=draw.nodes,
        k=draw.k,
        duration_s=draw.duration_s,
        faults=(Kill(at_s=0.3 * draw.duration_s, target="leader"), Start(at_s=0.6 * draw.duration_s, target="all")),
    )


ENTRIES: Final = (
    CatalogueEntry(name="leader-crash", summary="The leader is killed, and comes back later.", make=leader_crash),
)
