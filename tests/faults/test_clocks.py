"""A peer whose clock is an hour off writes and deletes: it neither wins over later writes nor is locked out."""

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

import pytest

from tests.faults.asking import delete, get, put, view, wait_for_leader
from tests.running import Home, running_home
from tests.waiting import until_blocking

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("clocks")]

HONEST: Final = ("peer-1", "peer-2", "peer-3")
HOUR_S: Final = 3600


@contextlib.contextmanager
def wrong_clock(home: Home, name: str, shift_s: int) -> Iterator[None]:
    """Run one more peer of the network, whose wall clock is ``shift_s`` off."""
    arguments = [str(shift_s), "--json", "start", "--no-zeroconf", "--name", name]
    command = subprocess.Popen(
        [sys.executable, "-m", "tests.faults.shifted_clock", *arguments],
        cwd=Path(__file__).parents[2],
        env=home.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert command.stdout is not None
    try:
        assert json.loads(command.stdout.readline())["name"] == name
        until_blocking(lambda: view(home, name, "status")["members"]["alive"] >= 4, what="the others", deadline_s=30)
        yield
    finally:
        command.send_signal(signal.SIGTERM)
        try:
            _, err = command.communicate(timeout=30)
        finally:
            command.kill()
            command.wait()
    assert b"Traceback" not in err, err
    assert command.returncode == 0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Three honest peers, one an hour ahead, one an hour behind."""
    with running_home(tmp_path_factory.mktemp("clocks")) as home:
        home.up(3)
        with wrong_clock(home, "ahead", HOUR_S), wrong_clock(home, "behind", -HOUR_S):
            wait_for_leader(home, (*HONEST, "ahead", "behind"))
            yield home


def read_everywhere(home: Home, key: str) -> set[bytes | None]:
    return {get(home, name, key) for name in (*HONEST, "ahead", "behind")}


@pytest.mark.parametrize("wrong", ["ahead", "behind"])
def test_the_last_writer_wins_whatever_its_clock(home: Home, wrong: str) -> None:
    """Network time orders versions: the median of all clocks, not one's own."""
    key = f"clock/{wrong}/written"
    for number in range(3):
        put(home, wrong, key, b"wrong clock %d" % number)
        assert read_everywhere(home, key) == {b"wrong clock %d" % number}
        put(home, HONEST[number], key, b"right clock %d" % number)
        assert read_everywhere(home, key) == {b"right clock %d" % number}


@pytest.mark.parametrize("wrong", ["ahead", "behind"])
def test_deletes_of_a_wrong_clock_hold_and_are_undone(home: Home, wrong: str) -> None:
    """A tombstone an hour ahead would make a key unwritable; one an hour behind would not delete."""
    key = f"clock/{wrong}/deleted"
    put(home, "peer-1", key, b"first")
    delete(home, wrong, key)
    assert read_everywhere(home, key) == {None}
    put(home, "peer-2", key, b"second")
    assert read_everywhere(home, key) == {b"second"}
    delete(home, "peer-3", key)
    put(home, wrong, key, b"third")
    assert read_everywhere(home, key) == {b"third"}
    delete(home, "peer-1", key)
    assert read_everywhere(home, key) == {None}


@pytest.mark.parametrize("wrong", ["ahead", "behind"])
def test_expiry_is_in_network_time(home: Home, wrong: str) -> None:
    """``--ttl`` through a peer whose clock is off lasts as long as it says, and then ends everywhere."""
    receipt = home.json("--peer", wrong, "put", f"clock/{wrong}/lasting", "x", "--ttl", "600")
    assert receipt["holders"]
    expires = home.json("--peer", "peer-1", "get", f"clock/{wrong}/lasting")["expires"]
    left_s = datetime.fromisoformat(expires).timestamp() - datetime.now().timestamp()
    assert 500 < left_s < 601
    home.ok("--peer", wrong, "put", f"clock/{wrong}/short", "x", "--ttl", "1")
    until_blocking(lambda: read_everywhere(home, f"clock/{wrong}/short") == {None}, what="the expiry everywhere")
    assert read_everywhere(home, f"clock/{wrong}/lasting") == {b"x"}


def test_wrong_clocks_cost_no_leader_and_no_member(home: Home) -> None:
    """Probes, leases and elections run on a clock that nobody sets; a peer that is off can lead, too."""
    everyone = (*HONEST, "ahead", "behind")
    for heir in ("ahead", "behind", "peer-1"):
        if wait_for_leader(home, everyone) != heir:
            home.ok("--timeout", "60", "elect", "--to", heir)
        until_blocking(lambda heir=heir: wait_for_leader(home, everyone) == heir, what=f"{heir} as leader")
    assert view(home, "peer-1", "status")["members"] == {"alive": 5, "suspect": 0, "failed": 0, "left": 0}
