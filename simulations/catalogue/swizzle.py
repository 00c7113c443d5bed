"""The scenario that the sweeps run: everything at random, after FoundationDB's swizzle-clogging.

Faults come at random moments and overlap. Now and then a swizzle: some peers are cut off one by one and come back
one by one in another order, which finds more than cutting and healing all at once.
"""

import random
from collections.abc import Sequence
from typing import Final

from simulations.catalogue.entry import CatalogueEntry, Draw
from simulations.faults import (
    AnyFault,
    ClockJump,
    ClockRate,
    DiskFull,
    DiskLost,
    DiskSlow,
    Hostile,
    Kill,
    Lie,
    Links,
    OneWayCut,
    Partition,
    Pause,
    PowerCut,
    Start,
    Stop,
)
from simulations.scenario import Scenario

_QUIET_START_S: Final = 2.0
_PAUSE_MEAN_S: Final = 2.0
"""Between two faults."""

_LASTS_S: Final = (0.1, 8.0)
_LIES: Final[tuple[Lie, ...]] = (
    "forged-members", "stale-records", "inflated-terms", "forged-certificates", "replays"
)  # fmt: skip

_KINDS: Final[dict[str, int]] = {
    "death": 8,
    "pause": 4,
    "split": 3,
    "one-way": 3,
    "swizzle": 2,
    "links": 3,
    "clock": 2,
    "disk": 2,
    "leader": 2,
}
"""How often each kind is drawn, relatively."""


def _swizzle(draw: Draw) -> Scenario:
    draws = draw.random()
    faults: list[AnyFault] = []
    at_s = _QUIET_START_S * draws.random()
    while (at_s := at_s + draws.expovariate(1 / _PAUSE_MEAN_S)) < draw.at(0.9):
        kind = draws.choices(list(_KINDS), list(_KINDS.values()))[0]
        faults += _drawn(kind, round(at_s, 3), draw.names, draws)
    if draws.random() < 0.25:
        faults.append(DiskLost(at_s=draw.at(draws.uniform(0.3, 0.6)), target=draws.choice(draw.names)))
    if draws.random() < 0.25:
        lies = tuple(draws.sample(_LIES, draws.randint(1, len(_LIES))))
        faults.append(Hostile(at_s=draw.at(draws.uniform(0.1, 0.5)), lies=lies, for_s=draw.at(0.3)))
    return draw.scenario(*faults, start_over_s=draws.choice((0.0, 0.5, 3.0)))


def _drawn(kind: str, at_s: float, names: Sequence[str], draws: random.Random) -> list[AnyFault]:
    """Return the faults of one kind at a moment."""
    name, for_s = draws.choice(names), round(draws.uniform(*_LASTS_S), 3)
    match kind:
        case "death":
            end = draws.choice((Kill, Kill, PowerCut, Stop))(at_s=at_s, target=name)
            return [end, Start(at_s=round(at_s + for_s, 3), target=name)]
        case "leader":
            end = draws.choice((Kill, PowerCut, Stop))(at_s=at_s, target="leader")
            return [end, Start(at_s=round(at_s + for_s, 3), target="all")]
        case "pause":
            return [Pause(at_s=at_s, target=draws.choice((name, "leader")), for_s=for_s)]
        case "split":
            return [Partition(at_s=at_s, groups=_groups(names, draws), for_s=for_s)]
        case "one-way":
            some = _some(names, draws)
            others = tuple(other for other in names if other not in some)
            return [OneWayCut(at_s=at_s, sources=some, targets=others, for_s=for_s)]
        case "swizzle":
            return _clogged(at_s, names, draws)
        case "links":
            return [_links(at_s, names, draws, for_s)]
        case "clock":
            jump = ClockJump(at_s=at_s, target=name, by_s=round(draws.choice((1, -1)) * 10 ** draws.uniform(-1, 4), 3))
            return [draws.choice((jump, ClockRate(at_s=at_s, target=name, rate=round(draws.uniform(0.97, 1.03), 4))))]
        case _:
            slow = DiskSlow(at_s=at_s, target=name, sync_s=round(10 ** draws.uniform(-2, 0), 3), for_s=for_s)
            return [draws.choice((slow, DiskFull(at_s=at_s, target=name, for_s=for_s)))]


def _groups(names: Sequence[str], draws: random.Random) -> tuple[tuple[str, ...], ...]:
    """Return two or three groups; now and then one peer is in two."""
    order = draws.sample(names, len(names))
    parts = draws.choice((2, 2, 3))
    groups = [order[part::parts] for part in range(parts)]
    if draws.random() < 0.5:  # two of unequal size
        few = draws.randint(1, max(1, len(order) // 3))
        groups = [order[:few], order[few:]]
    if draws.random() < 0.25:
        groups[0] = [*groups[0], *groups[-1][:1]]
    return tuple(tuple(group) for group in groups)


def _some(names: Sequence[str], draws: random.Random) -> tuple[str, ...]:
    return tuple(draws.sample(names, draws.randint(1, max(1, len(names) // 3))))


def _clogged(at_s: float, names: Sequence[str], draws: random.Random) -> list[AnyFault]:
    """Cut some peers off one by one, and let them return one by one in another order."""
    return [
        Partition(
            at_s=round(at_s + 0.5 * turn, 3),
            groups=(tuple(other for other in names if other != name),),
            for_s=round(draws.uniform(1.0, 5.0), 3),
        )
        for turn, name in enumerate(_some(names, draws)[:4])
    ]


def _links(at_s: float, names: Sequence[str], draws: random.Random, for_s: float) -> Links:
    return Links(
        at_s=at_s,
        peers=draws.choice(((), _some(names, draws))),
        delay_s=round(draws.choice((0.0, 0.005, 0.05)) * draws.random(), 4),
        jitter_s=round(draws.choice((0.0, 0.01)) * draws.random(), 4),
        loss=round(draws.choice((0.0, 0.05, 0.3)) * draws.random(), 3),
        duplication=round(0.1 * draws.random(), 3),
        reordering=round(0.2 * draws.random(), 3),
        for_s=for_s,
    )


ENTRIES: Final = (
    CatalogueEntry(
        name="swizzle",
        summary="Everything at random: deaths, pauses, cuts, bad links, clocks and disks, overlapping.",
        make=_swizzle,
    ),
)
