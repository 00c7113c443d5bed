"""``pair start --claim``: hosts that come and go share a folder that stays."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_ports
from tests.running import PAIR, Home
from tests.waiting import until_blocking

pytestmark = pytest.mark.processes


@contextlib.contextmanager
def claiming(home: Home) -> Iterator["subprocess.Popen[bytes]"]:
    """Run one peer in the foreground, as a container does; it is stopped in good order."""
    port, api_port = free_ports()
    command = [str(PAIR), "start", "--claim", "--no-zeroconf", f"--port={port}", f"--api-port={api_port}"]
    process = subprocess.Popen(
        [*home.inside, *command], env=home.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        _, shown = process.communicate(timeout=30)
        print(shown.decode())
    assert process.returncode == 0


def running(home: Home, count: int) -> dict[int | None, dict[str, Any]]:
    """Wait for ``count`` running peers and return their rows by process."""
    rows: dict[int | None, dict[str, Any]] = {}

    def all_run() -> bool:
        rows.clear()
        rows.update({row["pid"]: row for row in home.peers().values() if row["state"] == "running"})
        return len(rows) == count

    until_blocking(all_run, what=f"{count} running peers", deadline_s=60)
    return rows


def test_each_host_is_another_peer_and_comes_back_as_itself(home: Home) -> None:
    """Three found one network at once, take three places in it, and one that starts again finds its own."""
    with ExitStack() as hosts:
        for _ in range(2):
            hosts.enter_context(claiming(home))
        with claiming(home) as third:
            before = running(home, 3)
            assert {row["name"] for row in before.values()} == {"peer-1", "peer-2", "peer-3"}
            assert len({row["id"] for row in before.values()}) == 3
        with claiming(home) as again:
            after = running(home, 3)
            assert after[again.pid]["id"] == before[third.pid]["id"]
            assert {row["name"] for row in home.peers().values()} == {"peer-1", "peer-2", "peer-3"}


def test_claim_and_a_name_contradict_each_other(home: Home) -> None:
    """Wrong use is told before anything is founded."""
    assert home.run("start", "--claim", "--name", "ada").code == 2
    assert home.run("start", "--claim", "--detach").code == 2
    assert home.json("ps") == []


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="needs root and unshare")
def test_peer_of_another_container_is_seen_and_left_alone(home: Home) -> None:
    """Its pid means nothing here: no signal is sent by it, and its folder is not deleted under it."""
    elsewhere = Home(home.folder, inside=("unshare", "--pid", "--fork", "--kill-child", "--mount-proc"))
    with claiming(elsewhere) as container:
        (row,) = running(home, 1).values()
        assert (row["name"], row["pid"]) == ("peer-1", None)
        assert home.json("status")["name"] == "peer-1"
        for command in (["kill", "peer-1"], ["pause", "peer-1"], ["stop", "peer-1"], ["down", "--purge"]):
            problem = home.run("--json", *command).problem()
            assert problem["exit"] == 5 and "another container" in problem["detail"], command
        assert elsewhere.json("ps")[0]["pid"] is None, "a third one sees it as the first does"
        with claiming(home):
            assert {row["name"] for row in running(home, 2).values()} == {"peer-1", "peer-2"}
        assert home.json("down")[0]["state"] == "running"
        end_inside(container)
    until_blocking(lambda: home.peers()["peer-1"]["state"] == "stopped", what="the end of peer-1")


def end_inside(container: "subprocess.Popen[bytes]") -> None:
    """Tell the first process of the namespace to end, as an engine does; unshare itself passes no signal on."""
    children = Path(f"/proc/{container.pid}/task/{container.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    container.wait(30)
