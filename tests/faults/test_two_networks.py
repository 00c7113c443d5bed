"""Two networks on one machine whose seeds point at each other, and a peer with the wrong key: they never mix."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.asking import ask, get, put, view, wait_for_leader
from tests.faults.words import told
from tests.running import Home, running_home
from tests.waiting import until_blocking

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("two-networks")]

GUEST: Final = "guest"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Home]]:
    """Two networks of the same name: two peers each, and in each a third whose seeds are the other network's peers."""
    folder = tmp_path_factory.mktemp("two")
    with running_home(folder / "one") as one, running_home(folder / "other") as other:
        homes = (one, other)
        for home in homes:
            home.up(2)
        addresses = [[row["address"] for row in home.peers().values()] for home in homes]
        for home, seeds in zip(homes, reversed(addresses), strict=True):
            options = [word for seed in seeds for word in ("--seed", seed)]
            home.ok("start", "--detach", "--no-zeroconf", "--name", GUEST, *options)
        yield homes


def ids(home: Home) -> set[str]:
    return {row["id"] for row in home.peers().values()}


def refused(home: Home, peer: str) -> float:
    text = ask(home, peer, "GET", "/metrics")[1].decode()
    return sum(float(line.split()[1]) for line in text.splitlines() if "datagrams_refused" in line and line[0] != "#")


def test_networks_whose_seeds_point_at_each_other_stay_apart(two: tuple[Home, Home]) -> None:
    """Not one member, leader or key of the other, though both have the same name and ask each other all the time."""
    for home in two:
        until_blocking(lambda home=home: refused(home, "peer-1") > 0, what="a datagram of the other network")
        put(home, GUEST, "whose", home.folder.name.encode())
    for home in two:
        wait_for_leader(home, ["peer-1", "peer-2", GUEST])
        for peer in ("peer-1", "peer-2", GUEST):
            assert {row["id"] for row in view(home, peer, "members")} == ids(home)
            assert get(home, peer, "whose") == home.folder.name.encode()


def test_token_of_one_network_opens_nothing_in_the_other(two: tuple[Home, Home]) -> None:
    """401 → 5, and the next step."""
    one, other = two
    foreign = str(other.folder / "local" / "tokens.json")

    problem = told(one.run("--json", "put", "whose", "x", "--token-file", foreign), exit_code=5, cause="token")

    assert problem["type"] == "token-unknown"
    assert get(one, "peer-1", "whose") != b"x"


def test_peer_with_the_key_of_another_network_stays_alone(two: tuple[Home, Home], tmp_path: Path) -> None:
    """Wrong ``--key-file``: the peer it asks is silent, it founds nothing in that network, and says who it is with."""
    one, other = two
    key = tmp_path / "wrong.key"
    shutil.copy2(other.folder / "local" / "network.key", key)
    seed = one.peers()["peer-1"]["address"]
    with running_home(tmp_path / "third") as third:
        third.ok("start", "--detach", "--no-zeroconf", "--name", "lost", "--key-file", str(key), "--seed", seed)

        assert view(third, "lost", "status")["members"] == {"alive": 1, "suspect": 0, "failed": 0, "left": 0}
        told(third.run("--json", "get", "whose"), exit_code=3, cause="whose")
    for peer in ("peer-1", "peer-2", GUEST):
        assert {row["id"] for row in view(one, peer, "members")} == ids(one)
