"""How a schedule is carried out on real processes."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bootstrap.fork_server import Outcome
from simulations.faults import AnyFault, Links, OneWayCut, Partition
from simulations.live.nemesis import LiveNemesis

NAMES = ["peer-1", "peer-2", "peer-3", "peer-4"]


class Keeper:
    """Starts nothing, and remembers what it was to start."""

    def __init__(self) -> None:
        self.orders: list[list[str]] = []

    async def start(self, names: list[str]) -> tuple[Outcome, ...]:
        self.orders.append(names)
        return tuple(Outcome(name=name) for name in names)


def started_first(*faults: AnyFault) -> list[list[str]]:
    """Return what is started together at the beginning of a scenario with these faults."""
    peers = [
        SimpleNamespace(
            name=name, is_up=False, is_starting=False, asked_to_end=False, is_answering=False,
            begins=lambda: None, look_at_process=lambda: None,
        )
        for name in NAMES
    ]  # fmt: skip
    network: Any = SimpleNamespace(peers=peers, named={peer.name: peer for peer in peers}, now_s=lambda: 0.0)
    keeper = Keeper()

    async def story() -> None:
        nemesis = LiveNemesis(network, cast(Any, keeper), faults, seed=1, applied=[])
        for peer in peers:
            peer.peer_id = peer.name.encode()
        await nemesis.start_first(NAMES)
        await nemesis.close()

    asyncio.run(story())
    return keeper.orders


@pytest.mark.parametrize(
    ("fault", "together"),
    [
        (Partition(at_s=0, groups=(("peer-1", "peer-3"), ("peer-2", "peer-4")), for_s=9),
         [["peer-1", "peer-3"], ["peer-2", "peer-4"]]),
        (Partition(at_s=0, groups=(("peer-1", "peer-2", "peer-3"),), for_s=9),
         [["peer-1", "peer-2", "peer-3"], ["peer-4"]]),
        (Partition(at_s=0, groups=(("peer-1", "peer-2"), ("peer-2", "peer-3", "peer-4")), for_s=9), [NAMES]),
        (Partition(at_s=5, groups=(("peer-1", "peer-3"), ("peer-2", "peer-4")), for_s=9), [NAMES]),
        (OneWayCut(at_s=0, sources=("peer-1",), targets=("peer-2", "peer-3", "peer-4"), for_s=9), [NAMES]),
        (Links(at_s=0, loss=0.5, for_s=9), [NAMES]),
    ],
    ids=["halves", "one alone", "bridge", "later", "one way", "links"],
)  # fmt: skip
def test_what_must_not_hear_each_other_from_the_start_starts_apart(
    fault: AnyFault, together: list[list[str]]
) -> None:
    """Only a peer that serves can be told whom it must not hear."""
    assert started_first(fault) == together
