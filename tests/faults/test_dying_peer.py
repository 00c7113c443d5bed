"""A peer that dies in the middle of a command: a clear error with the right exit code, or another peer's answer."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from typing import Any, Final

import psutil
import pytest

from tests.faults.asking import api_of, get, pid_of, put, wait_for_leader
from tests.faults.stand_in import DyingApi
from tests.faults.words import told
from tests.running import PAIR, Done, Home, kill, running_home
from tests.waiting import until_blocking

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("dying")]

VICTIM: Final = "peer-1"
"""The first by name, so the one that commands without ``--peer`` ask."""

READS: Final = (["status"], ["members"], ["leader"], ["get", "dying/key"], ["keys"])
WRITES: Final = (["put", "dying/written", "x"], ["delete", "dying/key"], ["elect"])


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Three peers; after each test the dead one is started again."""
    with running_home(tmp_path_factory.mktemp("dying")) as home:
        home.up(3)
        yield home


@pytest.fixture
def whole(home: Home) -> Home:
    """All three run, and the key is there."""
    if home.peers()[VICTIM]["state"] != "running":
        home.ok("--timeout", "60", "restart", VICTIM)
    put(home, "peer-2", "dying/key", b"value")
    return home


def begin(home: Home, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(PAIR), "--json", *arguments],
        env=home.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def ended(command: subprocess.Popen[bytes]) -> Done:
    out, err = command.communicate(timeout=60)
    assert b"Traceback" not in err, err
    return Done(command.returncode, out, err.decode())


def is_connected(command: subprocess.Popen[bytes], api: str) -> bool:
    """Return whether the command holds a connection to this API, so has asked or is about to."""
    port = int(api.rpartition(":")[2])
    connections = psutil.Process(command.pid).net_connections("tcp")
    return any(found.raddr and found.raddr.port == port and found.status == "ESTABLISHED" for found in connections)


def die_under(home: Home, *arguments: str) -> Done:
    """Freeze the victim, start a command that asks it, and kill it once the command has connected."""
    api = api_of(home, VICTIM)
    os.kill(pid_of(home, VICTIM), signal.SIGSTOP)
    command = begin(home, "--peer", api, *arguments)
    until_blocking(lambda: is_connected(command, api), what="a connection of the command")
    kill(pid_of(home, VICTIM))
    return ended(command)


@pytest.mark.parametrize("arguments", READS, ids=lambda arguments: arguments[0])
def test_read_through_a_named_peer_that_dies_fails_and_says_so(whole: Home, arguments: list[str]) -> None:
    """Nobody else was asked for, so nobody else answers."""
    problem = told(die_under(whole, *arguments), exit_code=4, cause="broke off")

    assert problem["type"] == "no-peer"
    assert "pair ps" in problem["next_step"]


@pytest.mark.parametrize("arguments", WRITES, ids=lambda arguments: arguments[0])
def test_write_through_a_named_peer_that_dies_is_unknown(whole: Home, arguments: list[str]) -> None:
    """It may have taken effect: the command says so, and does not do it twice."""
    problem = told(die_under(whole, *arguments), exit_code=1, cause="broke off")

    assert problem["type"] == "outcome-unknown"
    assert get(whole, "peer-2", "dying/key") in (b"value", None)


def test_watch_at_a_named_peer_that_dies_ends_with_no_peer(whole: Home) -> None:
    """It was told to ask only that one; the last word is that nobody answers there."""
    problem = told(die_under(whole, "watch", "dying/"), exit_code=4, cause="Connection refused")

    assert problem["type"] == "no-peer"


def stand_in_for(home: Home, url: str) -> None:
    """Make commands take ``url`` for the victim's API."""
    record = home.folder / "local" / VICTIM / "run.json"
    record.write_bytes(json.dumps({**json.loads(record.read_bytes()), "api": url}).encode())


@pytest.fixture
def dying(whole: Home, request: pytest.FixtureRequest) -> Iterator[DyingApi]:
    """The first peer by name will die at the next request, or with True as parameter just before it."""
    before = api_of(whole, VICTIM)
    with DyingApi(at_once=getattr(request, "param", False)) as api:
        stand_in_for(whole, api.url)
        try:
            yield api
        finally:
            stand_in_for(whole, before)


@pytest.mark.parametrize("arguments", READS, ids=lambda arguments: arguments[0])
def test_read_goes_on_to_another_peer_when_the_first_dies(whole: Home, dying: DyingApi, arguments: list[str]) -> None:
    """Ask any peer anything: without ``--peer`` the next one answers."""
    document = whole.json(*arguments)

    assert dying.requests[-1].startswith(b"GET /v1/") and b"health" not in dying.requests[-1]
    assert document
    if arguments[0] == "status":
        assert document["name"] == "peer-2"
    if arguments[0] == "get":
        assert document["value"] == "value"


@pytest.mark.parametrize("arguments", WRITES, ids=lambda arguments: arguments[0])
def test_write_is_never_sent_to_a_second_peer(whole: Home, dying: DyingApi, arguments: list[str]) -> None:
    """A write that broke off may have taken effect."""
    problem = told(whole.run("--json", *arguments), exit_code=1, cause="broke off")

    assert problem["type"] == "outcome-unknown"
    assert not dying.requests[-1].startswith(b"GET")
    assert get(whole, "peer-2", "dying/key") == b"value"


@pytest.mark.parametrize("dying", [False, True], ids=["under the request", "before it"], indirect=True)
def test_watch_goes_on_at_another_peer(whole: Home, dying: DyingApi) -> None:
    """It says nothing of the change of peers, and shows what is written afterwards."""
    lines: list[bytes] = []

    def shown() -> bool:
        put(whole, "peer-3", "dying/watched", b"seen")
        return bool(lines)

    with begin(whole, "watch", "dying/") as command:
        reader = threading.Thread(target=lambda: lines.extend(iter(command.stdout.readline, b"")))  # type: ignore[union-attr]
        reader.start()
        try:
            until_blocking(shown, what="a change after the death of the watched peer")
            assert dying.requests[-1].startswith(b"GET /v1/health" if dying.at_once else b"GET /v1/kv-watch")
            assert command.poll() is None
        finally:
            command.send_signal(signal.SIGINT)
            reader.join(30)  # it ends with the command's output
        assert command.stderr is not None
        assert b"Traceback" not in command.stderr.read()
    assert command.returncode == 130


def test_many_reads_survive_the_death_of_the_peer_that_they_ask(whole: Home) -> None:
    """Reads under way at ``kill -9`` are answered by others, every one."""
    commands = [begin(whole, "get", "dying/key") for _ in range(8)]
    api = api_of(whole, VICTIM)
    until_blocking(
        lambda: any(command.poll() is not None or is_connected(command, api) for command in commands),
        what="a first connection",
    )
    kill(pid_of(whole, VICTIM))

    for command in commands:
        assert ended(command).document()["value"] == "value"


def test_leader_that_dies_while_it_hands_over_leaves_one_leader(whole: Home) -> None:
    """``elect`` fails in words, and the survivors elect by themselves."""
    old = wait_for_leader(whole, ["peer-1", "peer-2", "peer-3"])
    if old != VICTIM:
        whole.ok("--timeout", "60", "elect", "--to", VICTIM)
        wait_for_leader(whole, ["peer-1", "peer-2", "peer-3"])

    told(die_under(whole, "elect"), exit_code=1, cause="broke off")

    assert wait_for_leader(whole, ["peer-2", "peer-3"]) in ("peer-2", "peer-3")


def test_unknown_peer_and_no_peer_are_told_apart(whole: Home) -> None:
    """Unknown peer → 3; a known one that does not answer, or nobody at all → 4; each with a next step."""
    told(whole.run("--json", "--peer", "nobody", "status"), exit_code=3, cause="nobody")
    told(whole.run("--json", "--peer", "0123456789", "status"), exit_code=3, cause="0123456789")
    kill(pid_of(whole, VICTIM))
    problem: dict[str, Any] = told(whole.run("--json", "--peer", VICTIM, "status"), exit_code=4, cause="crashed")
    assert "pair restart peer-1" in problem["next_step"]
    assert whole.json("status")["name"] == "peer-2"
    told(whole.run("--json", "--peer", "http://127.0.0.1:9", "status"), exit_code=4, cause="127.0.0.1:9")


def test_no_peer_reachable_is_said_by_every_command(home: Home) -> None:
    """All of them frozen or dead: exit 4, within the time-out, and all is there afterwards."""
    if home.peers()[VICTIM]["state"] != "running":
        home.ok("--timeout", "60", "restart", VICTIM)
    put(home, "peer-2", "dying/key", b"value")
    for peer in ("peer-2", "peer-3"):
        home.ok("pause", peer)
    kill(pid_of(home, VICTIM))
    try:
        for arguments in (*READS, *WRITES, ["watch", "x"]):
            told(home.run("--json", "--timeout", "3", *arguments), exit_code=4, cause="no peer")
    finally:
        for peer in ("peer-2", "peer-3"):
            home.ok("resume", peer)
        home.ok("--timeout", "60", "restart", VICTIM)
    assert get(home, VICTIM, "dying/key") == b"value"
