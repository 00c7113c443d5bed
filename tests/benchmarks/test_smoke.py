"""The benchmarks run: every row, small; they end what they start, also when they are interrupted."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.programs import processes_with
from benchmarks.rows import ROWS
from tests.waiting import DEADLINE_S, until_blocking

ROOT = Path(__file__).resolve().parent.parent.parent
RUN_TIMEOUT_S = 300
"""Half a minute on a quiet machine; tests share theirs."""

VIRTUAL = ("benchmarks.rows.simulator", "benchmarks.rows.liars")
SIMULATED = [row.key for row in ROWS if row.measure.__module__ in VIRTUAL]
ON_PROCESSES = [row.key for row in ROWS if row.key not in SIMULATED]


@contextmanager
def bench(tmp_path: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Start the benchmarks with their folder below ``tmp_path``; interrupt them if the test ends before they do."""
    run = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "--smoke", "--seed", "1", *arguments],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield run
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGINT)
            run.communicate(timeout=DEADLINE_S)


def processes_of(tmp_path: Path) -> list[int]:
    """Return the processes of the run: they inherited its folder."""
    return processes_with("TMPDIR", str(tmp_path))


def files_of(tmp_path: Path) -> list[str]:
    """Return what the run wrote for itself; Pair's own lock of the ports of a machine stays, as everywhere."""
    return [path.name for path in tmp_path.iterdir() if path.name.startswith("pair-bench-")]


@pytest.mark.processes
@pytest.mark.timeout(RUN_TIMEOUT_S + 30)
@pytest.mark.parametrize("rows", [ON_PROCESSES, SIMULATED], ids=["on processes", "simulated"])
def test_every_row_is_measured(tmp_path: Path, rows: list[str]) -> None:
    """Small and quick: that the figures come, not what they are."""
    others = ["--others", "kademlia", "--json", str(tmp_path / "figures.json")]
    with bench(tmp_path, "--only", *rows, *others) as run:
        output, errors = run.communicate(timeout=RUN_TIMEOUT_S)

    assert run.returncode == 0, errors + output
    document = json.loads((tmp_path / "figures.json").read_text())
    assert [row["row"] for row in document["rows"]] == rows
    assert all(row["measured"] for row in document["rows"])
    assert any(row["beside"] for row in document["rows"]) == (rows is ON_PROCESSES)
    assert "machine: " in output
    assert "seed: 1" in output
    assert (processes_of(tmp_path), files_of(tmp_path)) == ([], [])


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Neither processes nor files."""
    with bench(tmp_path, "--only", "verdicts", "--others") as run:
        until_blocking(lambda: len(processes_of(tmp_path)) > 4, what="peers run", deadline_s=60)
        run.send_signal(number)
        _, errors = run.communicate(timeout=60)

    assert run.returncode == 130, errors
    assert "Traceback" not in errors
    assert (processes_of(tmp_path), files_of(tmp_path)) == ([], [])


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
