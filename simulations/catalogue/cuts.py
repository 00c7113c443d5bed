"""Scenarios about networks that fall apart: cuts both ways and one way, bridges, a peer that comes and goes."""

from typing import Final

from simulations.catalogue.entry import CatalogueEntry, Draw
from simulations.faults import OneWayCut, Partition
from simulations.scenario import Scenario


def _split_brain_and_heal(draw: Draw) -> Scenario:
    order = draw.shuffled()
    half = (draw.nodes + 1) // 2
    return draw.scenario(Partition(at_s=draw.at(0.25), groups=(order[:half], order[half:]), for_s=draw.at(0.35)))


def _three_way_split(draw: Draw) -> Scenario:
    order = draw.shuffled()
    return draw.scenario(
        Partition(at_s=draw.at(0.25), groups=(order[::3], order[1::3], order[2::3]), for_s=draw.at(0.35))
    )


def _minority_side(draw: Draw) -> Scenario:
    order = draw.shuffled()
    few = max(1, draw.nodes // 5)
    return draw.scenario(Partition(at_s=draw.at(0.25), groups=(order[:few], order[few:]), for_s=draw.at(0.35)))


def _one_way_cut(draw: Draw) -> Scenario:
    order = draw.shuffled()
    third = max(1, draw.nodes // 3)
    return draw.scenario(
        OneWayCut(at_s=draw.at(0.2), sources=order[:1], targets=order[1:], for_s=draw.at(0.15)),
        OneWayCut(at_s=draw.at(0.45), sources=order[:third], targets=order[third:], for_s=draw.at(0.2)),
    )


def _bridge(draw: Draw) -> Scenario:
    order = draw.shuffled()
    half = draw.nodes // 2
    return draw.scenario(Partition(at_s=draw.at(0.25), groups=(order[: half + 1], order[half:]), for_s=draw.at(0.35)))


def _flapping_peer(draw: Draw) -> Scenario:
    order = draw.shuffled()
    return draw.scenario(
        *(Partition(at_s=draw.at(0.2 + 0.06 * turn), groups=(order[1:],), for_s=draw.at(0.03)) for turn in range(10))
    )


ENTRIES: Final = (
    CatalogueEntry(
        name="split-brain-and-heal",
        summary="The network falls into two halves, each goes on with a leader of its own, and they merge again.",
        make=_split_brain_and_heal,
    ),
    CatalogueEntry(
        name="three-way-split",
        summary="The network falls into three parts at once, and all three merge again.",
        make=_three_way_split,
    ),
    CatalogueEntry(
        name="minority-side",
        summary="A fifth of the peers is cut off from the others, and comes back.",
        make=_minority_side,
    ),
    CatalogueEntry(
        name="one-way-cut",
        summary="One peer, then a third of all, can hear the others and is not heard by them.",
        make=_one_way_cut,
    ),
    CatalogueEntry(
        name="bridge",
        summary="Two halves do not hear each other, and one peer hears both.",
        make=_bridge,
    ),
    CatalogueEntry(
        name="flapping-peer",
        summary="One peer is cut off and connected again, ten times in a row.",
        make=_flapping_peer,
    ),
)
