"""Networks of real processes are started, broken and ended from the command line (DESIGN section 8, life cycle)."""

import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bootstrap.home import NetworkFolder
from bootstrap.ports import is_free
from bootstrap.processes import process_start, process_state
from tests.running import PAIR, Home
from tests.waiting import until_blocking

pytestmark = pytest.mark.processes


def begin(home: Home, *arguments: str) -> subprocess.Popen[str]:
    """Start a command that goes on until it is told to end."""
    return subprocess.Popen(
        [str(PAIR), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=home.environment,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for the end of a command; return exit code and both outputs."""
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return process.returncode, out, err


def are_gone(rows: list[dict[str, Any]]) -> Callable[[], bool]:
    """Return a condition: no process of these rows of ``ps`` is left."""
    starts = [(row["pid"], process_start(row["pid"])) for row in rows]
    return lambda: all(start is None or process_state(pid, start) == "gone" for pid, start in starts)


def test_network_lives_and_dies_by_commands(home: Home) -> None:
    """Up is a target; kill, restart, pause and resume name a peer or the leader; down leaves nothing running."""
    first = home.up(3)
    assert home.up(3) == first == list(home.peers().values())

    killed = home.json("kill", "leader")
    assert home.peers()[killed["name"]]["state"] == "crashed"
    again = home.json("kill", "leader")
    assert again["name"] != killed["name"]
    refused = home.run("--json", "kill", killed["name"]).problem()
    assert refused["exit"] == 5 and f"pair restart {killed['name']}" in refused["next_step"]

    restarted = home.json("restart", killed["name"])
    assert restarted["id"] == killed["id"] and restarted["pid"] != killed["pid"]
    paused = home.json("pause", killed["name"])
    assert paused == restarted and home.json("pause", killed["name"]) == paused
    assert home.peers()[killed["name"]]["state"] == "paused"

    whole = home.up(4)

    assert [row["state"] for row in whole] == ["running"] * 4
    assert [(row["id"], row["address"], row["api"]) for row in whole[:3]] == [
        (row["id"], row["address"], row["api"]) for row in first
    ]
    is_over = are_gone(whole)
    home.json("pause", "random")
    home.ok("down")
    assert is_over()
    assert {row["state"] for row in home.peers().values()} == {"stopped"}
    assert {row["pid"] for row in home.peers().values()} == {None}
    assert "was running" in home.ok("down").text

    home.ok("down", "--purge")
    assert home.peers() == {} and not (home.folder / "local").exists()


def test_foreground_up_shows_the_table_once_to_a_pipe_and_stops_its_peers(home: Home) -> None:
    """Ctrl-C ends what this command started, in good order; what ran before goes on."""
    before = home.up(1)
    command = begin(home, "up", "2", "--no-zeroconf")
    assert command.stdout is not None
    head = command.stdout.readline()
    rows = [command.stdout.readline() for _ in range(2)]
    tries = [command.stdout.readline() for _ in range(4)]

    assert head.split() == ["name", "address", "state", "role", "term", "keys"]
    assert [row.split()[0] for row in rows] == ["peer-1", "peer-2"]
    assert sum("leader" in row for row in rows) == 1
    assert [line.split()[:2] for line in tries[1:]] == [["pair", "put"], ["pair", "get"], ["pair", "kill"]]
    assert command.poll() is None

    command.send_signal(signal.SIGINT)

    code, _, err = ended(command)
    assert code == 0 and "stopping 1 peer …" in err
    assert home.peers()["peer-1"]["pid"] == before[0]["pid"]
    assert home.peers()["peer-2"]["state"] == "stopped"


def test_foreground_up_ends_when_the_network_does(home: Home) -> None:
    """``down`` in another terminal ends it too."""
    command = begin(home, "--json", "up", "2", "--no-zeroconf")
    assert command.stdout is not None
    command.stdout.readline()

    home.ok("down")

    code, out, err = ended(command)
    assert (code, out) == (0, "") and "all peers have ended" in err


def test_second_up_at_the_same_time_is_refused(home: Home) -> None:
    """One of two gets the network up, the other exits 5; afterwards it is whole."""
    commands = [begin(home, "--json", "up", "3", "--detach", "--no-zeroconf") for _ in range(2)]

    results = [ended(command) for command in commands]

    assert sorted(code for code, _, _ in results) in ([0, 5], [0, 0])
    assert [row["state"] for row in home.up(3)] == ["running"] * 3


def test_killed_up_leaves_what_the_next_one_completes(home: Home) -> None:
    """The helper goes on without the command, and whoever comes meanwhile is told that a start is at work."""
    command = begin(home, "up", "3", "--detach", "--no-zeroconf")
    until_blocking((home.folder / "local" / "peer-1" / "start.json").exists, what="the start")
    command.kill()
    command.communicate(timeout=60)

    def is_whole() -> bool:
        done = home.run("--json", "up", "3", "--detach", "--no-zeroconf")
        assert done.code in (0, 5), done.stderr
        return done.code == 0

    until_blocking(is_whole, what="a whole network")
    assert {row["state"] for row in home.peers().values()} == {"running"}


def test_taken_port_is_named_with_a_free_block(home: Home) -> None:
    """With an explicit base: cause and next step; without one another block is found."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
        foreign.bind(("127.0.0.1", 0))
        port = foreign.getsockname()[1]

        problem = home.run("--json", "up", "1", "--detach", "--base-port", str(port - 1)).problem()

        assert problem["exit"] == 1
        assert f"port {port} is taken" in problem["detail"] and "--base-port" in problem["next_step"]
        assert not (home.folder / "local").exists() or home.peers() == {}


def free_base(count: int) -> int:
    """Return a base above which so many ports are free just now."""
    while True:
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            base: int = first.getsockname()[1] - 1
        if all(is_free("127.0.0.1", base + number, udp=True) for number in range(1, count + 1)):
            return base


def hold_port_of(home: Home, name: str, holder: socket.socket) -> threading.Thread:
    """Take the peer port that ``name`` was given, after the look for free ports and before its process binds it."""
    settings = home.folder / "local" / name / "start.json"

    def hold() -> None:
        until_blocking(settings.exists, what="a chosen port", deadline_s=60)
        holder.bind(("127.0.0.1", json.loads(settings.read_text())["port"]))

    thread = threading.Thread(target=hold)
    thread.start()
    return thread


def test_block_that_is_lost_during_the_start_is_exchanged(home: Home) -> None:
    """Another program binds a port between the look and the start: all move to the next free block."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
        thread = hold_port_of(home, "peer-2", foreign)

        rows = home.up(3)

        thread.join(timeout=60)
        lost = foreign.getsockname()[1]
        ports = [int(row["address"].rpartition(":")[2]) for row in rows]
        assert {row["state"] for row in rows} == {"running"} and lost != 0
        assert lost not in ports and ports == [ports[0] + number for number in range(3)]


def test_asked_block_that_is_lost_during_the_start_is_refused(home: Home) -> None:
    """As if it had been taken before: nothing is left running, and the error names a block that is free."""
    base = free_base(2)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
        thread = hold_port_of(home, "peer-2", foreign)

        done = home.run("--json", "up", "2", "--detach", "--no-zeroconf", "--base-port", str(base))

        thread.join(timeout=60)
        problem = done.problem()
        assert problem["exit"] == 1 and f"port {base + 2} is taken" in problem["detail"]
        assert {row["state"] for row in home.peers().values()} == {"stopped"}


def test_lost_block_is_exchanged_while_nothing_runs(home: Home) -> None:
    """A stopped network whose ports were taken meanwhile comes up elsewhere, with the same peers."""
    (before,) = home.up(1)
    home.ok("down")
    host, _, port = before["address"].rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
        foreign.bind((host, int(port)))

        (after,) = home.up(1)

    assert after["id"] == before["id"] and after["address"] != before["address"]


def test_options_are_kept_and_contradictions_refused(home: Home) -> None:
    """What is not given stays as it was; what contradicts a running peer is wrong use and starts nothing."""
    home.up(1, "--k", "3")

    problem = home.run("--json", "up", "2", "--detach", "--k", "4").problem()
    home.up(2)

    assert problem["exit"] == 2 and "k = 3" in problem["detail"]
    settings = [(home.folder / "local" / name / "start.json").read_text() for name in ("peer-1", "peer-2")]
    assert all('"k": 3' in text for text in settings)


def test_start_founds_joins_and_stops(home: Home, tmp_path: Path) -> None:
    """``start`` founds a network in words; another home joins it with the key file and a seed."""
    founder = begin(home, "start", "--no-zeroconf")
    assert founder.stdout is not None
    line = founder.stdout.readline()
    (row,) = home.peers().values()
    assert row["name"] in line and row["id"].startswith(row["name"].rpartition("-")[2])
    other = Home(tmp_path / "other")
    try:
        key = home.folder / "local" / "network.key"
        joined = other.json(
            "start", "--detach", "--name", "guest", "--no-zeroconf", "--key-file", str(key), "--seed", row["address"]
        )
        members = other.json("members", "--peer", joined["api"], "--network", "local")
        assert {member["name"] for member in members} == {row["name"], "guest"}
        assert other.run("--json", "start", "--detach", "--name", "guest").problem()["exit"] == 5
        assert other.json("stop")["name"] == "guest"
        assert other.peers()["guest"]["state"] == "stopped"
    finally:
        other.close()

    founder.send_signal(signal.SIGTERM)

    code, _, err = ended(founder)
    assert code == 0 and "founded the network 'local'" in err and "its data is kept" in err
    again = begin(home, "start", "--no-zeroconf")
    assert again.stdout is not None and row["name"] in again.stdout.readline()
    home.ok("stop", row["name"])
    assert ended(again)[0] == 0


def test_doctor_finds_what_was_broken(home: Home) -> None:
    """A crash, a key that others may read, a damaged file that was set aside."""
    home.up(2)
    assert home.run("doctor").code == 0
    home.ok("kill", "peer-2")
    (home.folder / "local" / "peer-1" / "records.sqlite.damaged-1").touch()
    (home.folder / "local" / "tokens.json").chmod(0o644)

    done = home.run("doctor", "--json")

    assert done.code == 1
    found = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert found["local: peer-1"]["state"] == "ok"
    assert found["local: peer-2"]["state"] == "broken" and found["local: peer-2"]["next_step"] == "pair restart peer-2"
    assert found["local: keys"]["state"] == "broken" and "chmod 600" in found["local: keys"]["next_step"]
    assert found["local: damage"]["state"] == "warning"
    (home.folder / "local" / "tokens.json").chmod(0o600)


def test_damaged_key_keeps_one_peer_from_starting(home: Home) -> None:
    """The error names the file; the other peers run."""
    network = NetworkFolder(home.folder / "local")
    network.found("local")
    network.peer("peer-2").create()
    network.peer("peer-2").key_path.write_bytes(b"{}")

    problem = home.run("--json", "up", "2", "--detach", "--no-zeroconf").problem()

    assert problem["exit"] == 1
    assert "peer-2" in problem["detail"] and "node.key is damaged" in problem["detail"]
    assert home.peers()["peer-1"]["state"] == "running"


def test_restarts_at_the_same_time_wait_for_each_other(home: Home) -> None:
    """The right to start peers is waited for."""
    home.up(3)
    names = ["peer-1", "peer-2", "peer-3"]
    results: dict[str, Any] = {}

    def restart(name: str) -> None:
        results[name] = home.run("restart", name)

    threads = [threading.Thread(target=restart, args=[name]) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert [results[name].code for name in names] == [0, 0, 0], results
    assert {row["state"] for row in home.peers().values()} == {"running"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_is_not_writable_is_named(home: Home) -> None:
    """Cause and next step."""
    home.folder.mkdir()
    home.folder.chmod(0o500)

    problem = home.run("--json", "up", "1", "--detach").problem()

    assert problem["exit"] == 1 and "PAIR_HOME" in problem["next_step"]
