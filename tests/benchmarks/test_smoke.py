"""The benchmarks run: every row, small; they end what they start, also when they are interrupted."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.programs import processes_with
from benchmarks.rows import ROWS
from tests.waiting import until_blocking

ROOT = Path(__file__).resolve().parent.parent.parent
RUN_TIMEOUT_S = 110


def bench(tmp_path: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start the benchmarks with their folder below ``tmp_path``."""
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "--smoke", "--seed", "1", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def leftovers(tmp_path: Path) -> list[int]:
    """Return the processes that the run started and did not end: they inherited its folder."""
    return processes_with("TMPDIR", str(tmp_path))


@pytest.mark.processes
@pytest.mark.timeout(RUN_TIMEOUT_S + 10)
def test_every_row_is_measured(tmp_path: Path) -> None:
    """Small and quick: that the figures come, not what they are."""
    run = bench(tmp_path, "--others", "kademlia", "--json", str(tmp_path / "figures.json"))
    output, errors = run.communicate(timeout=RUN_TIMEOUT_S)

    assert run.returncode == 0, errors + output
    document = json.loads((tmp_path / "figures.json").read_text())
    assert [row["row"] for row in document["rows"]] == [row.key for row in ROWS]
    assert all(row["measured"] for row in document["rows"])
    assert any(row["beside"] for row in document["rows"])
    assert "machine: " in output
    assert "seed: 1" in output
    assert leftovers(tmp_path) == []
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Neither processes nor files."""
    run = bench(tmp_path, "--only", "verdicts", "--others")
    until_blocking(lambda: len(leftovers(tmp_path)) > 4, what="a network is up")

    run.send_signal(number)

    _, errors = run.communicate(timeout=RUN_TIMEOUT_S)
    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    assert leftovers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.processes
def test_a_system_that_is_not_installed_is_shown_as_such(tmp_path: Path) -> None:
    """The run goes on, and says so in its place."""
    folder = tmp_path / "programs"
    folder.mkdir()
    command = "from benchmarks.__main__ import main; raise SystemExit(main())"
    run = subprocess.run(
        [sys.executable, "-c", command, "--smoke", "--only", "memory", "--others", "etcd", "serf"],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path), "PATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )

    assert run.returncode == 0, run.stderr
    assert run.stdout.count("not installed here") == 2
