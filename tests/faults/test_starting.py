"""What keeps a peer from starting: a port, a folder, another process, a key. Nothing that was there is lost."""

import contextlib
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.faults.words import findings, told
from tests.running import PAIR, Home
from tests.waiting import until_blocking

pytestmark = pytest.mark.processes


def start(home: Home, *options: str) -> tuple[str, ...]:
    return ("--json", "start", "--detach", "--no-zeroconf", "--name", "guest", *options)


@pytest.mark.parametrize("option", ["--port", "--api-port"])
def test_taken_port_ends_a_start_and_another_one_helps(home: Home, option: str) -> None:
    """Port taken: for people's port as for peers'; the peer that could not start keeps its key."""
    kinds = {"--port": socket.SOCK_DGRAM, "--api-port": socket.SOCK_STREAM}
    with contextlib.ExitStack() as foreign:
        # Both are named, and held until the last moment: a port that the first start chose by itself would be kept for
        # the second, and another test's network may have it by then.
        holders = {name: foreign.enter_context(socket.socket(socket.AF_INET, kind)) for name, kind in kinds.items()}
        for holder in holders.values():
            holder.bind(("127.0.0.1", 0))
        holders["--api-port"].listen()
        ports = {name: holder.getsockname()[1] for name, holder in holders.items()}
        options = [text for name, port in ports.items() for text in (name, str(port))]
        holders[next(name for name in kinds if name != option)].close()

        problem = told(home.run(*start(home, *options)), exit_code=2, cause=str(ports[option]))

        assert option in problem["next_step"]
        assert home.peers()["guest"]["state"] == "stopped"
        before = home.peers()["guest"]["id"]
    assert home.json(*start(home, *options)[1:])["id"] == before


def test_port_taken_while_a_peer_was_down_keeps_its_data(home: Home) -> None:
    """A restart that cannot have the port says so, and the records are there once it can."""
    row = home.up(2)[0]
    home.ok("put", "kept", "value")
    home.ok("stop", "peer-1")
    port = int(row["address"].rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as foreign:
        foreign.bind(("127.0.0.1", port))

        told(home.run("--json", "--timeout", "60", "restart", "peer-1"), exit_code=2, cause=str(port))

        assert str(port) in findings(home)["local: peer-1"]["detail"]
    home.ok("--timeout", "60", "restart", "peer-1")
    assert home.ok("get", "kept", "--peer", "peer-1").stdout == b"value"


@pytest.mark.parametrize("place", ["/proc/pair", "/dev/null/pair"])
@pytest.mark.parametrize("command", [["up", "2", "--detach"], ["start", "--detach"]])
def test_folder_that_nobody_can_write_is_named(home: Home, place: str, command: list[str]) -> None:
    """Folder not writable, also for root: cause, and where to go instead."""
    done = home.run("--json", *command, "--no-zeroconf", environment={"PAIR_HOME": place})

    problem = told(done, exit_code=1, cause=place.rpartition("/")[0])
    assert "PAIR_HOME" in problem["next_step"]


def test_file_in_the_place_of_a_peers_folder_is_named(home: Home) -> None:
    """The others run; the file is left as it is."""
    home.up(2)
    (home.folder / "local" / "peer-3").write_text("mine")

    done = home.run("--json", "up", "3", "--detach", "--no-zeroconf")

    told(done, exit_code=1, cause=str(home.folder / "local" / "peer-3"))
    assert (home.folder / "local" / "peer-3").read_text() == "mine"
    assert home.peers()["peer-1"]["state"] == "running"


def test_folder_of_a_running_peer_is_refused_to_a_second_process(home: Home) -> None:
    """Folder used by another process: the second names the first and touches nothing."""
    row = home.up(2)[0]
    home.ok("put", "kept", "value")
    (home.folder / "local" / "peer-1" / "run.json").unlink()  # so that only the lock can tell

    done = home.run("--json", "start", "--name", "peer-1", "--no-zeroconf")

    problem = told(done, exit_code=5, cause=f"process {row['pid']}")
    assert "pair stop peer-1" in problem["next_step"]
    status, _, _ = home.request(row["api"], "GET", "/v1/health")
    assert status == 200
    subprocess.run(["kill", str(row["pid"])], check=True)  # its record is gone, so no command finds it
    until_blocking(lambda: not Path(f"/proc/{row['pid']}").exists(), what="the end of the peer")
    home.ok("--timeout", "60", "restart", "peer-1")
    assert home.ok("get", "kept", "--peer", "peer-1").stdout == b"value"


def test_damaged_or_missing_network_key_stops_every_start_and_is_kept(home: Home) -> None:
    """Wrong or missing key: no peer starts in another network, doctor shows it, and the right key brings all back."""
    home.up(2)
    home.ok("put", "kept", "value")
    home.ok("down")
    key = home.folder / "local" / "network.key"
    whole = key.read_bytes()
    start_of_key = whole.index(b'"key": "') + 8
    another = b"A" if whole[start_of_key : start_of_key + 1] != b"A" else b"B"
    flipped = whole[:start_of_key] + another + whole[start_of_key + 1 :]

    for damaged in (flipped, whole[: len(whole) // 2], b"", b"this is no key\n", None):
        key.unlink() if damaged is None else key.write_bytes(damaged)
        what = "is missing" if damaged is None else "is damaged"

        told(home.run("--json", "up", "2", "--detach", "--no-zeroconf"), exit_code=1, cause=f"network.key {what}")
        told(home.run(*start(home)), exit_code=1, cause=f"network.key {what}")

        assert (key.read_bytes() if key.exists() else None) == damaged
        if damaged is not None:
            told(home.run("--json", "restart", "peer-1"), exit_code=1, cause="network.key is damaged")
            shown = findings(home)["local: keys"]
            assert shown["state"] == "broken" and "network.key" in shown["detail"]

    key.write_bytes(whole)
    key.chmod(0o600)
    home.up(2)
    assert home.ok("get", "kept").stdout == b"value"


def test_key_file_that_cannot_be_used_is_named(home: Home, tmp_path: Path) -> None:
    """``--key-file``: missing, a folder, damaged, readable by all; nothing is founded instead."""
    damaged, readable = tmp_path / "damaged", tmp_path / "readable"
    damaged.write_text("{}")
    damaged.chmod(0o600)
    readable.write_text("{}")
    readable.chmod(0o644)

    told(home.run(*start(home, "--key-file", str(tmp_path / "none"))), exit_code=2, cause="none")
    told(home.run(*start(home, "--key-file", str(tmp_path))), exit_code=1, cause=str(tmp_path))
    told(home.run(*start(home, "--key-file", str(damaged))), exit_code=1, cause="is damaged")
    told(home.run(*start(home, "--key-file", str(readable))), exit_code=2, cause="readable")

    assert not (home.folder / "local").exists()


def test_key_file_of_another_network_is_refused_where_one_lives(home: Home, tmp_path: Path) -> None:
    """A home that belongs to a network keeps belonging to it."""
    home.up(2)
    other = Home(tmp_path / "other")
    try:
        other.up(2)
        foreign = tmp_path / "foreign.key"
        shutil.copy(other.folder / "local" / "network.key", foreign)

        told(home.run(*start(home, "--key-file", str(foreign))), exit_code=2, cause="belongs to another network")

        assert list(home.peers()) == ["peer-1", "peer-2"]
    finally:
        other.close()


def test_interrupted_start_in_the_foreground_leaves_a_stopped_peer(home: Home) -> None:
    """Ctrl-C at any moment: no process, no traceback, and the same peer next time."""
    command = subprocess.Popen(
        [str(PAIR), "start", "--no-zeroconf", "--name", "guest"],
        env=home.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    until_blocking((home.folder / "local" / "guest" / "start.json").exists, what="the start", deadline_s=60)
    command.send_signal(signal.SIGINT)
    _, err = command.communicate(timeout=30)

    assert b"Traceback" not in err, err
    assert home.peers()["guest"]["state"] == "stopped"
    assert home.json(*start(home)[1:])["state"] == "running"
