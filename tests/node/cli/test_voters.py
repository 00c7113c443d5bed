"""Real processes in *quorum* mode: who leads while voters come and go (DESIGN section 6)."""

import pytest

from tests.running import Home
from tests.waiting import until_blocking

pytestmark = pytest.mark.processes

VOTERS = ("peer-1", "peer-2", "peer-3")


def wait_for_leader(home: Home, peer: str, *, among: tuple[str, ...]) -> str:
    """Wait until ``peer`` follows one of these and return which."""
    until_blocking(lambda: home.leader_of(peer) in among, what=f"a leader among {', '.join(among)}")
    leader = home.leader_of(peer)
    assert leader is not None
    return leader


def test_fixed_voters_elect_and_nobody_leads_without_a_majority_of_them(home: Home) -> None:
    """Leader killed: another; two voters gone: none, and values are kept all the same; a lost vote is readmitted."""
    home.up(5, "--voters", "3")
    assert home.json("status")["mode"] == "quorum"
    first = home.json("kill", "leader")["name"]
    assert first in VOTERS
    second = wait_for_leader(home, "peer-5", among=tuple(name for name in VOTERS if name != first))
    third = next(name for name in VOTERS if name not in (first, second))

    home.json("kill", third)
    until_blocking(lambda: home.leader_of("peer-5") is None, what="that nobody leads")
    assert home.leader_of(second) is None
    home.ok("put", "color", "red", "--peer", "peer-4")
    assert home.json("get", "color", "--peer", "peer-5")["value"] == "red"

    (home.folder / "local" / first / "vote").write_bytes(b"not a vote file")
    home.json("restart", first)
    assert f"pair doctor --readmit {first}" in home.run("doctor").text
    assert home.leader_of("peer-5") is None
    assert home.run("--json", "doctor", "--readmit", second).problem()["exit"] == 5

    home.ok("doctor", "--readmit", first)
    home.json("restart", first)

    assert wait_for_leader(home, "peer-5", among=(first, second))


def test_options_that_contradict_the_voters_are_wrong_use(home: Home) -> None:
    """Founded with or without fixed voters: that stays."""
    home.up(2, "--voters", "2")
    assert home.run("up", "2", "--detach", "--voters", "1").code == 2
    assert home.run("up", "2", "--detach", "--profile", "wan").code == 2
    assert "--voters 1 contradicts" in home.run("start", "--voters", "1").stderr
    home.ok("down", "--purge")

    home.up(1)
    assert home.run("up", "1", "--detach", "--voters", "1").code == 2
