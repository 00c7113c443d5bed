"""A peer's folder: one process at a time, and what became of its last run."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from bootstrap.locks import FolderInUse
from bootstrap.peer_folder import PeerFolder, RunState
from bootstrap.processes import pid_namespace
from protocol.errors import ConfigError, StoreError

HOLDER = """
import sys
from pathlib import Path
from bootstrap.peer_folder import PeerFolder
folder = PeerFolder(Path(sys.argv[1]))
lock = folder.lock()
folder.begin_run(id="00" * 32, network="local", address="127.0.0.1:7401", api="http://127.0.0.1:8401", boot=5)
print("ready", flush=True)
sys.stdin.readline()
folder.end_run()
print("ended", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def folder(tmp_path: Path) -> PeerFolder:
    return PeerFolder(tmp_path / "peer-1")


@pytest.fixture
def holder(folder: PeerFolder) -> Iterator["subprocess.Popen[str]"]:
    """Another process that runs as the peer; a line on its input brings it to an orderly end."""
    folder.create()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate(timeout=10)


def wait_for_state(folder: PeerFolder, state: RunState) -> None:
    wait_until(lambda: folder.state() == state)


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.002)


def begin(folder: PeerFolder) -> None:
    folder.begin_run(id="11" * 32, network="local", address="127.0.0.1:7401", api="http://127.0.0.1:8401")


def test_identity_stays(folder: PeerFolder) -> None:
    """Same id, after every restart."""
    assert not folder.exists()

    identity = folder.create()

    assert folder.exists()
    assert folder.create().peer_id == folder.identity().peer_id == identity.peer_id
    assert folder.peer_id() == identity.peer_id.hex()
    assert folder.key_path.stat().st_mode & 0o777 == 0o600
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_damaged_key_is_never_another_peer(folder: PeerFolder) -> None:
    """Each flipped byte of ``node.key`` is an error, or harmless; the file stays as it is."""
    peer_id = folder.create().peer_id
    whole = folder.key_path.read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0x01
        folder.key_path.write_bytes(damaged)
        try:
            assert folder.create().peer_id == peer_id
        except StoreError as error:
            assert "damaged" in error.cause
        assert folder.key_path.read_bytes() == damaged


def test_key_that_others_can_read_is_refused(folder: PeerFolder) -> None:
    """A peer does not start with a key that may have been copied."""
    folder.create()
    folder.key_path.chmod(0o640)

    with pytest.raises(ConfigError):
        folder.create()


@pytest.mark.parametrize("grown", ["vote", "peer.json", "records.sqlite"])
def test_lost_key_is_not_replaced(folder: PeerFolder, grown: str) -> None:
    """Data without its key: the peer that it belonged to must not become another one silently."""
    folder.create()
    (folder.path / grown).write_bytes(b"")
    folder.key_path.unlink()

    with pytest.raises(StoreError, match="missing"):
        folder.create()
    assert folder.exists(), "commands go on listing and ending it"


def test_second_process_is_refused_with_the_pid_of_the_first(
    folder: PeerFolder, holder: "subprocess.Popen[str]"
) -> None:
    """A second process on the same folder is refused."""
    with pytest.raises(FolderInUse) as caught:
        folder.lock()

    assert caught.value.pid == holder.pid
    assert str(holder.pid) in caught.value.cause
    assert "pair stop peer-1" in caught.value.next_step


def test_lock_ends_with_its_process(folder: PeerFolder, holder: "subprocess.Popen[str]") -> None:
    """``kill -9`` leaves no lock behind: whoever comes next has the folder, and alone."""
    holder.kill()
    holder.wait(timeout=10)

    with folder.lock(), pytest.raises(FolderInUse) as caught:
        folder.lock()
    assert caught.value.pid == os.getpid()


def test_state_follows_the_process(folder: PeerFolder, holder: "subprocess.Popen[str]") -> None:
    """running, paused, running, crashed."""
    assert folder.state() == "running"
    holder.send_signal(signal.SIGSTOP)
    wait_for_state(folder, "paused")
    holder.send_signal(signal.SIGCONT)
    wait_for_state(folder, "running")
    holder.kill()
    wait_for_state(folder, "crashed")  # also before its parent has collected it
    holder.wait(timeout=10)
    assert folder.state() == "crashed"


def test_orderly_end_is_stopped(folder: PeerFolder, holder: "subprocess.Popen[str]") -> None:
    """What a stopped peer's addresses were is still known."""
    assert holder.stdin is not None and holder.stdout is not None
    holder.stdin.write("\n")
    holder.stdin.flush()
    assert holder.stdout.readline() == "ended\n"

    run = folder.run()

    assert folder.state() == "stopped"
    assert run is not None
    assert (run.pid, run.name, run.address, run.api, run.boot) == (
        holder.pid,
        "peer-1",
        "127.0.0.1:7401",
        "http://127.0.0.1:8401",
        5,
    )


def test_recycled_pid_is_not_taken_for_the_peer(folder: PeerFolder) -> None:
    """A process with the recorded pid that started at another time is somebody else."""
    folder.create()
    begin(folder)
    assert folder.state() == "running"
    run = folder.run()
    assert run is not None

    other = msgspec.structs.replace(run, process_start="another start")

    assert other.state == "crashed"


def test_peer_that_never_ran_is_stopped(folder: PeerFolder) -> None:
    """Also one whose run record is not readable: it only describes a process."""
    assert folder.state() == "stopped"
    folder.create()
    for content in (b"", b"{", b"[1]", b"\xff"):
        (folder.path / "run.json").write_bytes(content)
        assert (folder.state(), folder.run()) == ("stopped", None)
    folder.end_run()


def test_lock_is_given_back(folder: PeerFolder) -> None:
    """Released twice, taken again; the record of the pid is this process."""
    lock = folder.lock()
    lock.release()
    lock.release()
    with folder.lock(), pytest.raises(FolderInUse) as caught:
        folder.lock()
    assert caught.value.pid == os.getpid()


def test_folder_that_is_a_file_is_a_clear_error(tmp_path: Path) -> None:
    """No error of the operating system leaves this module."""
    (tmp_path / "peer-1").write_bytes(b"")
    folder = PeerFolder(tmp_path / "peer-1")

    assert not folder.exists()
    for attempt in (folder.create, folder.lock, folder.identity, folder.peer_id, folder.run, lambda: begin(folder)):
        with pytest.raises(StoreError):
            attempt()


def test_peer_is_claimed_once(folder: PeerFolder) -> None:
    """Of several that look for a free peer one gets it, until it lets go."""
    claim = folder.claim()
    with pytest.raises(FolderInUse):
        folder.claim()

    folder.lock().release()  # the claim does not keep its owner from running
    claim.release()
    folder.claim().release()


def test_running_peer_cannot_be_claimed(folder: PeerFolder, holder: "subprocess.Popen[str]") -> None:
    """Also one that runs without having claimed its place; the attempt leaves no claim behind."""
    with pytest.raises(FolderInUse):
        folder.claim()
    holder.kill()
    holder.wait(timeout=10)

    folder.claim().release()


def test_process_of_another_container_is_known_by_its_lock(folder: PeerFolder) -> None:
    """Its pid means nothing here: the same number is another process, or none."""
    folder.create()
    run = folder.begin_run(id="00" * 32, network="local", address="127.0.0.1:7401", api="http://127.0.0.1:8401")
    elsewhere = msgspec.structs.replace(run, pid_namespace="pid:[1]")

    assert (run.is_elsewhere, elsewhere.is_elsewhere) == (False, bool(pid_namespace()))
    assert folder.state_of(run) == "running"
    if not elsewhere.is_elsewhere:
        pytest.skip("this system knows no namespaces of processes")
    assert folder.state_of(elsewhere) == "crashed"
    with folder.lock():
        assert folder.state_of(elsewhere) == "running"
    assert folder.state_of(msgspec.structs.replace(elsewhere, ended=True)) == "stopped"


def test_last_run_is_the_latest_beginning_or_end(folder: PeerFolder) -> None:
    """Zero before the first."""
    folder.create()
    assert folder.last_ran() == 0.0
    folder.begin_run(id="00" * 32, network="local", address="127.0.0.1:7401", api="http://127.0.0.1:8401")

    began = folder.last_ran()
    assert abs(began - time.time()) < 60
    folder.end_run()
    assert folder.last_ran() >= began
