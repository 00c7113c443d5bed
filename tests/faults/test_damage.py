"""Damaged files under real peers: told, kept, never silently empty, and what was in them comes from the others."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.asking import all_of, pid_of, put, view, wait_for_leader
from tests.faults.words import findings, told
from tests.running import Home, kill, running_home
from tests.waiting import until_blocking

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("damage")]

VICTIM: Final = "peer-2"
KEYS: Final = {f"damage/{number}": f"value {number}".encode() for number in range(40)}

Damage = Callable[[Path], None]


def flip(path: Path) -> None:
    """Turn over some bytes in each part of a file, as a failing disk does."""
    content = bytearray(path.read_bytes())
    for start in range(len(content) // 4, len(content), 1024):
        content[start : start + 16] = bytes(byte ^ 0xFF for byte in content[start : start + 16])
    path.write_bytes(content)


def cut(path: Path) -> None:
    """Lose the second half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    """Keep the name and lose the content, as a power cut can."""
    path.write_bytes(b"")


def noise(path: Path) -> None:
    """Be something else altogether."""
    path.write_bytes(b"\x00\xff not what you think \n" * 500)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Three peers with forty keys; each test breaks a file of one and mends it."""
    with running_home(tmp_path_factory.mktemp("damage")) as home:
        home.up(3)
        for key, value in KEYS.items():
            put(home, "peer-1", key, value)
        yield home


def folder(home: Home) -> Path:
    return home.folder / "local" / VICTIM


def log_of(home: Home) -> str:
    return (folder(home) / "peer.log").read_text(errors="replace")


def break_it(home: Home, name: str, damage: Damage) -> str:
    """Stop the victim, damage one of its files, start it again; return what it logged since."""
    before = len(log_of(home))
    home.ok("stop", VICTIM)  # in good order, so that nothing lies in SQLite's log alone
    damage(folder(home) / name)
    home.ok("--timeout", "60", "restart", VICTIM)
    return log_of(home)[before:]


def forget(home: Home) -> None:
    """Remove what was set aside, so that the next test sees its own."""
    for path in folder(home).glob("*.damaged-*"):
        path.unlink()


def everything_through(home: Home, peer: str) -> dict[str, bytes | None]:
    """Read all keys through one peer."""
    return all_of(home, peer, list(KEYS))


@pytest.mark.parametrize("damage", [flip, empty, noise, Path.unlink])
def test_damaged_records_are_told_and_come_back_from_the_others(home: Home, damage: Damage) -> None:
    """Damaged ``records.sqlite``: set aside, named in the log and by doctor; all records are there again."""
    forget(home)
    said = break_it(home, "records.sqlite", damage)

    if damage is Path.unlink:
        assert "records.sqlite is missing though this peer ran before" in said
    else:
        assert "records.sqlite was damaged" in said and "is kept as" in said
        assert "damaged" in findings(home)["local: damage"]["detail"]
    assert everything_through(home, VICTIM) == KEYS
    until_blocking(lambda: view(home, VICTIM, "status")["keys_held"] == len(KEYS), what="every record back")


@pytest.mark.parametrize("damage", [cut, Path.unlink])
def test_damaged_documents_cost_no_record_and_no_identity(home: Home, damage: Damage) -> None:
    """Damaged ``peer.json``: told and kept; the peer finds the others through its seeds and is the same peer."""
    forget(home)
    before = view(home, VICTIM, "status")["id"]

    said = break_it(home, "peer.json", damage)

    assert ("peer.json is missing" if damage is Path.unlink else "peer.json was damaged") in said
    if damage is not Path.unlink:
        assert "peer.json" in findings(home)["local: damage"]["detail"]
    assert view(home, VICTIM, "status")["id"] == before
    assert everything_through(home, VICTIM) == KEYS
    wait_for_leader(home, ["peer-1", VICTIM, "peer-3"])


@pytest.mark.parametrize("damage", [noise, Path.unlink])
def test_damaged_vote_is_told_and_the_peer_follows_without_voting_twice(home: Home, damage: Damage) -> None:
    """Damaged ``vote``: told; the term never falls, and the peer votes again once it knows the present one."""
    forget(home)
    leader = wait_for_leader(home, ["peer-1", VICTIM, "peer-3"])
    if leader == VICTIM:
        home.ok("--timeout", "60", "elect", "--to", "peer-1")
    term = view(home, "peer-1", "leader")["term"]

    said = break_it(home, "vote", damage)

    assert ("vote file is missing" if damage is Path.unlink else "vote file") in said
    assert "does not vote before it has learned the current term" in said
    assert wait_for_leader(home, ["peer-1", VICTIM, "peer-3"]) != VICTIM
    assert view(home, VICTIM, "leader")["term"] >= term
    home.ok("--timeout", "60", "elect", "--to", VICTIM)
    assert wait_for_leader(home, ["peer-1", VICTIM, "peer-3"]) == VICTIM
    assert everything_through(home, VICTIM) == KEYS


@pytest.mark.parametrize("damage", [flip, Path.unlink])
def test_damaged_identity_stops_one_peer_and_no_other(home: Home, damage: Damage, tmp_path: Path) -> None:
    """Damaged ``node.key``: never another peer; the error says what to do, the rest serves, the copy brings it back."""
    key, copy = folder(home) / "node.key", tmp_path / "node.key"
    shutil.copy2(key, copy)
    before = view(home, VICTIM, "status")["id"]
    kill(pid_of(home, VICTIM))
    damage(key)

    problem = told(home.run("--json", "--timeout", "60", "restart", VICTIM), exit_code=1, cause="node.key")
    assert "restore it from a copy" in problem["next_step"]
    assert key.exists() == (damage is not Path.unlink)
    assert findings(home)["local: keys"]["state"] == "broken"
    assert everything_through(home, "peer-1") == KEYS

    shutil.copy2(copy, key)
    home.ok("--timeout", "60", "restart", VICTIM)
    assert view(home, VICTIM, "status")["id"] == before
    assert everything_through(home, VICTIM) == KEYS


def test_everything_but_the_key_lost_at_once_comes_back(home: Home) -> None:
    """A disk of which only the key could be saved."""
    before = view(home, VICTIM, "status")["id"]
    kill(pid_of(home, VICTIM))
    for path in folder(home).iterdir():
        if path.name not in ("node.key", "start.json", "peer.log", "run.json"):
            path.unlink()

    home.ok("--timeout", "60", "restart", VICTIM)

    assert view(home, VICTIM, "status")["id"] == before
    until_blocking(lambda: view(home, VICTIM, "status")["keys_held"] == len(KEYS), what="every record back")
    assert everything_through(home, VICTIM) == KEYS


def test_damaged_run_and_start_records_are_named(home: Home) -> None:
    """What only describes a process is written anew; how the peer was started is asked for again."""
    kill(pid_of(home, VICTIM))
    for name in ("run.json", "start.json"):
        (folder(home) / name).write_bytes(os.urandom(100))

    problem = told(home.run("--json", "--timeout", "60", "restart", VICTIM), exit_code=1, cause="start.json")
    assert problem["next_step"]
    assert home.peers()[VICTIM]["state"] == "stopped"

    (folder(home) / "start.json").unlink()
    home.up(3)
    assert everything_through(home, VICTIM) == KEYS
