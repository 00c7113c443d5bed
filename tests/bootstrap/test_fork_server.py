"""Peers start from one loaded helper, and belong to nobody afterwards."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from bootstrap.fork_server import Outcome
from bootstrap.locks import FolderInUse, FolderLock
from bootstrap.peer_log import LOG_SIZE_MAX_BYTES
from bootstrap.processes import process_start, process_state, send_signal
from tests.waiting import until_blocking

Program = Callable[..., list[str]]
pytestmark = pytest.mark.processes


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """Return the command line of the program; every peer that it left is ended afterwards."""
    yield lambda *names: [sys.executable, "-m", "tests.bootstrap.fork_program", str(tmp_path), *names]
    (tmp_path / "go").touch()
    for path in tmp_path.glob("*.pid"):
        pid = int(path.read_text())
        start = process_start(pid)
        if start is not None and send_signal(pid, start, signal.SIGKILL):
            until_blocking(lambda pid=pid, start=start: process_state(pid, start) == "gone", what="the end of a peer")


def outcomes_of(command: list[str]) -> list[Outcome]:
    # The pipes end although the peers live: they must hold neither of them.
    done = subprocess.run(command, capture_output=True, timeout=60, check=True)
    assert done.stderr == b""
    return msgspec.json.decode(done.stdout, type=list[Outcome])


def test_peers_outlive_the_command_in_sessions_of_their_own(program: Program, tmp_path: Path) -> None:
    """No terminal, no supervisor, no descriptor of the command; standard output goes to the log."""
    outcomes = outcomes_of(program("a", "b"))

    assert outcomes == [Outcome(name="a"), Outcome(name="b")]
    for name in ("a", "b"):
        pid = int((tmp_path / f"{name}.pid").read_text())
        assert os.getsid(pid) == os.getpgid(pid) == pid
        assert Path(f"/proc/{pid}/comm").read_text() == f"pair {name}\n"
        targets = {entry.name: str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        log = str(tmp_path / name / "peer.log")
        assert targets == {"0": "/dev/null", "1": log, "2": log}
        assert (tmp_path / name / "peer.log").read_text() == f"hello from {name}\n"


def test_killed_peer_is_no_zombie(program: Program, tmp_path: Path) -> None:
    """Whoever adopts it collects it."""
    outcomes_of(program("a"))
    pid = int((tmp_path / "a.pid").read_text())
    start = process_start(pid)
    assert start is not None

    assert send_signal(pid, start, signal.SIGKILL)

    until_blocking(lambda: process_state(pid, start) == "gone", what="the end of the peer")
    assert not send_signal(pid, start, signal.SIGKILL)


def test_each_failure_is_told_with_cause_and_next_step(program: Program, tmp_path: Path) -> None:
    """One peer that cannot start keeps no other from it."""
    wrong, broken, vanishing, good = outcomes_of(program("wrong", "broken", "vanishing", "good"))

    assert wrong == Outcome(name="wrong", cause="the port is taken", next_step="choose another", is_configuration=True)
    assert broken.cause.startswith("a defect of pair: RuntimeError: xxx") and len(broken.cause) <= 600
    assert "Traceback" in (tmp_path / "broken" / "peer.log").read_text()
    assert vanishing.cause.startswith("vanishing ended") and str(tmp_path / "vanishing") in vanishing.next_step
    assert good.is_started


def test_failure_to_load_is_the_failure_of_each(program: Program) -> None:
    """Without what a peer needs none can start, and each says so."""
    outcomes = outcomes_of(program("unloadable", "b"))

    assert [(outcome.cause, outcome.next_step) for outcome in outcomes] == [("the key is damaged", "restore it")] * 2


def test_start_stays_locked_until_the_last_peer_serves(program: Program, tmp_path: Path) -> None:
    """A killed command leaves no half-started network that another could trip over: the lock says it is at work."""

    def is_locked() -> bool:
        try:
            FolderLock(tmp_path / "up.lock", purpose="", next_step="").release()
        except FolderInUse:
            return True
        return False

    command = subprocess.Popen(program("a", "late"))
    until_blocking((tmp_path / "a.pid").exists, what="the first peer")
    command.kill()
    command.wait(timeout=30)
    assert is_locked()

    (tmp_path / "go").touch()

    until_blocking((tmp_path / "late.pid").exists, what="the late peer")
    until_blocking(lambda: not is_locked(), what="the end of the start")


def test_full_log_is_put_by(program: Program, tmp_path: Path) -> None:
    """Two logs of bounded size, whatever a peer writes in its life."""
    log = tmp_path / "a" / "peer.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * LOG_SIZE_MAX_BYTES)

    outcomes_of(program("a"))

    assert log.read_text() == "hello from a\n"
    assert log.with_name("peer.log.1").stat().st_size == LOG_SIZE_MAX_BYTES
