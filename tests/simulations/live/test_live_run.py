"""A live run as a user calls it, and what is left of it: nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap.home import list_networks
from bootstrap.peer_folder import Run
from tests.waiting import until_blocking

pytestmark = pytest.mark.processes

_PROGRAM = "import sys; from node.cli import main; main(sys.argv[1:])"
_DEADLINE_S = 90.0


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """A folder for temporary files of a command, that must be empty again at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    yield folder
    until_blocking(lambda: not networks_in(folder), what="the network is deleted", deadline_s=_DEADLINE_S)


def networks_in(folder: Path) -> list[Path]:
    return list(folder.glob("pair-live-*"))


def begun(temporary: Path, *arguments: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "TMPDIR": str(temporary), "NO_COLOR": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, "simulate", *arguments, "--live", "--nodes", "3", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def runs_in(temporary: Path) -> list[Run]:
    """Return the peers that serve."""
    folders = [peer for home in networks_in(temporary) for network in list_networks(home) for peer in network.peers()]
    runs = [run for peer in folders if (run := peer.run()) is not None]
    return [run for run in runs if run.state == "running"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_however_a_run_ends(temporary: Path, number: signal.Signals) -> None:
    """Ctrl-C tells what was seen until then; after a kill the peers are ended all the same."""
    process = begun(temporary, "churn", "--duration", "3000")
    until_blocking(lambda: len(runs_in(temporary)) == 3, what="three peers run", deadline_s=_DEADLINE_S)
    runs = runs_in(temporary)

    process.send_signal(number)

    output, errors = process.communicate(timeout=_DEADLINE_S)
    until_blocking(lambda: not any(is_there(run) for run in runs), what="the peers end", deadline_s=_DEADLINE_S)
    assert "Traceback" not in errors
    if number is signal.SIGINT:
        assert process.returncode == 130, errors
        assert "interrupted" in json.dumps(json.loads(output)["checks"])


def is_there(run: Run) -> bool:
    return run.state in ("running", "paused")
