"""How peers end and come back: all at once, in good order or by force, until one is left."""

import os
import signal
import threading
from collections.abc import Iterator
from http.client import HTTPException
from typing import Final

import pytest

from tests.faults.asking import all_of, get, pid_of, put, view, wait_for_leader
from tests.running import Home, kill, running_home
from tests.waiting import until_blocking

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("endings")]

NAMES: Final = ("peer-1", "peer-2", "peer-3", "peer-4")


@pytest.fixture
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Four peers."""
    with running_home(tmp_path_factory.mktemp("endings")) as home:
        home.up(4)
        yield home


class Writer:
    """Writes through one peer until that dies, and remembers what was acknowledged."""

    def __init__(self, home: Home, peer: str, prefix: str) -> None:
        self.acknowledged: Final[dict[str, bytes]] = {}
        self._home = home
        self._peer = peer
        self._prefix = prefix
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        for number in range(2000):
            key, value = f"{self._prefix}/{number}", os.urandom(50)
            try:
                put(self._home, self._peer, key, value)
            except (OSError, HTTPException, AssertionError):
                return  # the peer ends; what it acknowledged counts
            self.acknowledged[key] = value

    def wait_for(self, count: int) -> None:
        until_blocking(lambda: len(self.acknowledged) >= count, what=f"{count} acknowledged writes")

    def join(self) -> None:
        self._thread.join(timeout=60)
        assert not self._thread.is_alive()


def state_of(home: Home, peer: str, seen_by: str) -> str:
    (row,) = [row for row in view(home, seen_by, "members") if row["name"] == peer]
    return str(row["state"])


def test_all_peers_stopped_under_load_and_started_again_have_every_key(home: Home) -> None:
    """``down`` in the middle of writes, then ``up``: each acknowledged key through each peer, and one leader."""
    writers = [Writer(home, name, f"load/{name}") for name in NAMES[:2]]
    for writer in writers:
        writer.wait_for(20)

    home.ok("down")

    kept: dict[str, bytes] = {}
    for writer in writers:
        writer.join()
        kept |= writer.acknowledged
    rows = home.up(4)
    assert {row["state"] for row in rows} == {"running"}
    for name in NAMES:
        assert all_of(home, name, list(kept)) == kept
    wait_for_leader(home, NAMES)


def test_all_peers_killed_at_once_under_load_have_every_key(home: Home) -> None:
    """A power cut: no goodbye, no flush."""
    writer = Writer(home, "peer-1", "cut")
    writer.wait_for(30)

    for name in NAMES:
        os.kill(pid_of(home, name), signal.SIGKILL)

    writer.join()
    until_blocking(
        lambda: {row["state"] for row in home.peers().values()} == {"crashed"}, what="four crashed peers"
    )
    home.up(4)
    for name in NAMES:
        assert all_of(home, name, list(writer.acknowledged)) == writer.acknowledged


def test_sigterm_is_a_goodbye_and_sigkill_a_failure(home: Home) -> None:
    """``left`` against ``failed``, ``stopped`` against ``crashed``; both keep what was acknowledged."""
    put(home, "peer-3", "by/term", b"term")
    put(home, "peer-4", "by/kill", b"kill")
    term = Writer(home, "peer-3", "term")
    forced = Writer(home, "peer-4", "kill")
    for writer in (term, forced):
        writer.wait_for(5)

    os.kill(pid_of(home, "peer-3"), signal.SIGTERM)
    kill(pid_of(home, "peer-4"))

    until_blocking(lambda: state_of(home, "peer-3", "peer-1") == "left", what="peer-3 as left")
    until_blocking(lambda: state_of(home, "peer-4", "peer-1") == "failed", what="peer-4 as failed")
    for writer in (term, forced):
        writer.join()
    until_blocking(lambda: home.peers()["peer-3"]["state"] == "stopped", what="the end of peer-3")
    assert home.peers()["peer-4"]["state"] == "crashed"
    kept = {"by/term": b"term", "by/kill": b"kill"} | term.acknowledged | forced.acknowledged
    for name in ("peer-1", "peer-2"):
        assert all_of(home, name, list(kept)) == kept

    home.up(4)
    for name in ("peer-3", "peer-4"):
        assert all_of(home, name, list(kept)) == kept
        assert state_of(home, name, "peer-1") == "alive"


def test_the_last_peer_alive_leads_itself(home: Home) -> None:
    """Killed one after the other, the leader first: the network goes on until the last, and grows again."""
    written: dict[str, bytes] = {}
    left = list(NAMES)
    while len(left) > 1:
        leader = wait_for_leader(home, left)
        key = f"shrinking/{len(left)}"
        written[key] = key.encode()
        put(home, left[0], key, written[key])
        kill(pid_of(home, leader))
        left.remove(leader)
    (last,) = left
    assert wait_for_leader(home, [last]) == last
    put(home, last, "alone", b"value")
    written["alone"] = b"value"
    assert all_of(home, last, list(written)) == written

    home.up(4)
    wait_for_leader(home, NAMES)
    for name in NAMES:
        assert all_of(home, name, list(written)) == written
    assert get(home, "peer-1", "never") is None
