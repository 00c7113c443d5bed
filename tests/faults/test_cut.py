"""Both halves of a cut, and its healing, on real processes: each half serves, and nothing of either is lost."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.cut import Cables, cables
from tests.running import Home
from tests.waiting import until_blocking

pytestmark = pytest.mark.processes

LEFT: Final = ("a", "b", "c")
RIGHT: Final = ("d", "e")
ALL: Final = LEFT + RIGHT


class Town:
    """Five peers, each in a network namespace of its own, from one folder."""

    def __init__(self, folder: Path, net: Cables) -> None:
        self._homes = {name: Home(folder, inside=net.inside(name)) for name in net.names}
        self._net = net

    def start(self, name: str) -> None:
        """Start a peer that knows the first one's address."""
        address = self._net.addresses[name]
        self._homes[name].ok(
            *("start", "--detach", "--no-zeroconf", "--name", name, "--bind", address),
            *("--port", "7400", "--api-port", "8400", "--seed", f"{self._net.addresses[ALL[0]]}:7400"),
        )

    def ask(self, name: str, *arguments: str) -> Any:
        """Run a command beside a peer, which must succeed."""
        return self._homes[name].json("--peer", name, *arguments)

    def try_ask(self, name: str, *arguments: str) -> Any:
        """Run a command beside a peer; None when it fails."""
        done = self._homes[name].run("--json", "--peer", name, *arguments)
        return json.loads(done.stdout) if done.code == 0 else None

    def wait_for_leader(self, names: Sequence[str], *, deadline_s: float) -> str:
        """Wait until ``names`` all follow one of themselves, and see as alive themselves and nobody else."""
        leaders: set[str] = set()

        def agreed() -> bool:
            leaders.clear()
            for name in names:
                leaders.add(str(self.ask(name, "leader")["name"]))
                members = self.ask(name, "members")
                if {row["name"] for row in members if row["state"] == "alive"} != set(names):
                    return False
            return len(leaders) == 1 and leaders <= set(names)

        until_blocking(agreed, what=f"one leader of {', '.join(names)}", deadline_s=deadline_s)
        return leaders.pop()

    def close(self) -> None:
        """End all peers."""
        next(iter(self._homes.values())).close()


@pytest.fixture
def net() -> Iterator[Cables]:
    """Return the namespaces of the five."""
    with cables(ALL) as net:
        yield net


@pytest.fixture
def town(tmp_path: Path, net: Cables) -> Iterator[Town]:
    """Return the five peers, which know each other."""
    town = Town(tmp_path / "home", net)
    try:
        for name in ALL:
            town.start(name)
        town.wait_for_leader(ALL, deadline_s=30)
        yield town
    finally:
        town.close()


def test_both_halves_serve_and_become_one_again(town: Town, net: Cables) -> None:
    """Each side of a cut has one leader, reads what was there and takes writes; healed, all of it is everywhere."""
    town.ask("a", "put", "cut/before", "whole")
    town.ask("e", "put", "cut/both", "before")

    net.cut(RIGHT)
    leaders = {town.wait_for_leader(side, deadline_s=30) for side in (LEFT, RIGHT)}
    assert len(leaders) == 2
    for side in (LEFT, RIGHT):
        first, last = side[0], side[-1]
        assert len(town.ask(first, "put", f"cut/{first}", "written in the cut")["holders"]) == len(side)
        for name in side:
            assert town.ask(name, "get", f"cut/{first}")["value"] == "written in the cut"
            assert town.ask(name, "get", "cut/before")["value"] == "whole"
        town.ask(last, "put", "cut/both", f"by {last}")
    assert town.try_ask("a", "get", "cut/d") is None

    net.heal()
    town.wait_for_leader(ALL, deadline_s=30)
    values = {"cut/a": "written in the cut", "cut/d": "written in the cut", "cut/before": "whole", "cut/both": "by e"}

    def readable_everywhere() -> bool:
        found = [town.try_ask(name, "get", key) for name in ALL for key in values]
        return [row and row["value"] for row in found] == list(values.values()) * len(ALL)

    until_blocking(readable_everywhere, what="the writes of both halves everywhere", deadline_s=30)
    assert {row["key"] for row in town.ask("b", "keys", "cut/")} == set(values)
