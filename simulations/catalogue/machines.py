"""Scenarios about bad machines: links, clocks, disks, and a member that lies."""

from typing import Final

from simulations.catalogue.entry import CatalogueEntry, Draw
from simulations.faults import ClockJump, ClockRate, DiskFull, DiskSlow, Hostile, Links
from simulations.scenario import Scenario

_RATE_ERROR: Final = 0.01
"""Far worse than quartz (0.0001), well inside what leases bear (0.05)."""


def _slow_links(draw: Draw) -> Scenario:
    return draw.scenario(
        Links(at_s=draw.at(0.2), delay_s=0.02, jitter_s=0.01, for_s=draw.at(0.25)),
        Links(
            at_s=draw.at(0.55),
            peers=draw.shuffled()[: max(1, draw.nodes // 5)],
            delay_s=0.1,
            jitter_s=0.03,
            bandwidth_bytes_per_s=50_000.0,
            for_s=draw.at(0.25),
        ),
    )


def _lossy_links(draw: Draw) -> Scenario:
    return draw.scenario(
        Links(at_s=draw.at(0.2), loss=0.1, duplication=0.05, reordering=0.1, for_s=draw.at(0.3)),
        Links(at_s=draw.at(0.6), peers=draw.shuffled()[:2], loss=0.4, reordering=0.3, for_s=draw.at(0.2)),
    )


def _clock_skew(draw: Draw) -> Scenario:
    draws = draw.random()
    rates = [
        ClockRate(at_s=draw.at(0.15), target=name, rate=round(1 + draws.uniform(-_RATE_ERROR, _RATE_ERROR), 5))
        for name in draw.names
    ]
    jumps = [
        ClockJump(at_s=draw.at(draws.uniform(0.2, 0.7)), target=name, by_s=draws.choice((-3600.0, -5.0, 5.0, 3600.0)))
        for name in draw.shuffled()[: max(1, draw.nodes // 3)]
    ]
    return draw.scenario(*rates, *jumps)


def _disk_full(draw: Draw) -> Scenario:
    order = draw.shuffled()
    few = max(1, draw.nodes // 5)
    return draw.scenario(
        *(DiskFull(at_s=draw.at(0.2), target=name, for_s=draw.at(0.3)) for name in order[:few]),
        *(DiskSlow(at_s=draw.at(0.4), target=name, sync_s=0.3, for_s=draw.at(0.3)) for name in order[few : 2 * few]),
    )


def _hostile_member(draw: Draw) -> Scenario:
    return draw.scenario(
        Hostile(
            at_s=draw.at(0.2),
            lies=("forged-members", "stale-records", "inflated-terms", "forged-certificates", "replays"),
            for_s=draw.at(0.5),
        )
    )


ENTRIES: Final = (
    CatalogueEntry(
        name="slow-links",
        summary="All links become slow for a while, then those of a few peers very slow and narrow.",
        make=_slow_links,
    ),
    CatalogueEntry(
        name="lossy-links",
        summary="Links lose, double and reorder datagrams: first all a little, then those of two peers a lot.",
        make=_lossy_links,
    ),
    CatalogueEntry(
        name="clock-skew",
        summary="Every clock runs at a rate of its own, and some wall clocks jump by seconds or by an hour.",
        make=_clock_skew,
    ),
    CatalogueEntry(
        name="disk-full",
        summary="The disks of some peers run full, and those of others become slow.",
        make=_disk_full,
    ),
    CatalogueEntry(
        name="hostile-member",
        summary="A member that holds the network key forges, replays and inflates whatever it can.",
        make=_hostile_member,
    ),
)
