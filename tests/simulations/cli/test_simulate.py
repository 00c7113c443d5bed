"""``pair simulate`` as a user calls it: shapes, exit codes, interrupts, and files."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from node.cli import run
from simulations.catalogue import SCENARIOS
from tests.simulations.small_runs import function_file
from tests.waiting import until_blocking

QUICK = ("--nodes", "3", "--duration", "3")
_PROGRAM = "import sys; from node.cli import main; main(sys.argv[1:])"

_SEEN_PROGRAM = """
import pathlib, sys
from node.cli import main
from node.cli.waiting import StatusLine
StatusLine.show = lambda self, text: pathlib.Path(sys.argv[1]).touch()
main(sys.argv[2:])
"""
"""Touches a file when the first second of a run is shown."""


def problem(errors: str) -> dict[str, Any]:
    """Return the problem document on the last line of standard error."""
    document: dict[str, Any] = json.loads(errors.strip().splitlines()[-1])
    return document


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started (Linux)."""
    return [int(child) for path in Path(f"/proc/{pid}/task").glob("*/children") for child in path.read_text().split()]


def test_a_run_prints_its_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The shape of DESIGN section 8, and nothing else on standard output."""
    code = run(["simulate", str(function_file(tmp_path)), *QUICK, "--seed", "4", "--json"])

    document = json.loads(capsys.readouterr().out)
    assert code == 0, document
    assert (document["scenario"], document["nodes"], document["seed"], document["verdict"]) == ("mine", 3, 4, "PASS")
    assert all(sorted(check) == ["detail", "name", "ok"] for check in document["checks"])
    assert {"operations_ok", "operations_failed", "elections", "datagrams", "simulated_s"} <= set(document["figures"])
    assert len(document["trace_sha256"]) == 64
    assert document["replay"].endswith("--nodes 3 --duration 3 --seed 4")


def test_without_a_seed_one_is_drawn_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """So that what was seen can be seen again."""
    assert run(["simulate", str(function_file(tmp_path)), *QUICK]) == 0

    told = capsys.readouterr().out
    assert "mine: PASS" in told
    assert "replay  pair simulate" in told
    assert "--seed " in told
    assert "\x1b" not in told


def test_a_failed_run_still_prints_its_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1, the verdict on standard output, the problem on standard error (DESIGN section 8)."""
    monkeypatch.chdir(tmp_path)

    code = run(["simulate", f"{function_file(tmp_path)}:hopeless", *QUICK, "--seed", "4", "--json", "--no-shrink"])

    told = capsys.readouterr()
    document = json.loads(told.out)
    assert code == 1
    assert document["verdict"] == "FAIL"
    assert problem(told.err)["exit"] == 1
    assert problem(told.err)["next_step"] == document["replay"]


def test_the_catalogue_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Shape ``[{name, summary}]``."""
    assert run(["simulate", "--list", "--json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(SCENARIOS)

    assert run(["simulate", "--list", "churn"]) == 0
    assert "churn" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "which scenario"),
        (["leader-crsh"], "there is no scenario 'leader-crsh'"),
        (["--list", "leader-crsh"], "there is no scenario 'leader-crsh'"),
        (["churn", "--nodes", "0"], "0 is not in the range"),
        (["churn", "--nodes", "10000000"], "10000000 is not in the range"),
        (["churn", "--seed", "many"], "'many' is no seed"),
        (["churn", "--seeds", "9..1"], "holds no seed"),
        (["churn", "--seed", "1", "--seeds", "1..2"], "--seeds goes with none of"),
        (["churn", "--engine", "tcp://127.0.0.1:1"], "--engine needs --seeds"),
        (["disk-full", "--live"], "cannot have the fault disk-full or disk-slow"),
        (["churn", "--live", "--seeds", "1..2"], "--live plays one run"),
        (["churn", "--live", "--nodes", "1000"], "too many for a live run"),
        (["churn", "--duration", "0"], "choose more than 0"),
        (["churn", "--report", "/nonexistent/report.html"], "cannot be written"),
        (["churn", "--report", "/"], "is a folder"),
        (["churn", "--plots", "/dev/null/plots"], "cannot be written"),
        (["none.py"], "there is no file none.py"),
    ],
)
def test_wrong_use_is_told_before_anything_runs(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, one cause, one next step, nothing on standard output."""

    def play(*arguments: object, **named: object) -> None:
        raise AssertionError("it was played")

    monkeypatch.setattr("simulations.cli.single.run_one", play)

    code = run(["simulate", *arguments, "--json"])

    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert words in problem(told.err)["detail"]
    assert problem(told.err)["next_step"]


def test_an_engine_that_is_not_there_is_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    """Whether Dask is installed or not."""
    code = run(["simulate", "churn", "--seeds", "1..2", "--engine", "tcp://127.0.0.1:1", "--json"])

    told = capsys.readouterr()
    assert (code, told.out) == (1, "")
    assert "Dask" in problem(told.err)["detail"]


def test_report_and_plots_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One page, and a picture for each panel."""
    report, plots = tmp_path / "report.html", tmp_path / "new" / "plots"

    code = run(
        [
            "simulate",
            str(function_file(tmp_path)),
            *QUICK,
            "--seed",
            "1",
            "--report",
            str(report),
            "--plots",
            str(plots),
        ]
    )

    assert code == 0, capsys.readouterr().out
    assert "<svg" in report.read_text()
    assert sorted(path.suffix for path in plots.iterdir()) == [".svg"] * 5
    assert not list(tmp_path.glob(".*"))


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_tells_what_it_saw(tmp_path: Path, number: signal.Signals) -> None:
    """A partial verdict, exit code 130."""
    seen = tmp_path / "seen"
    command = [sys.executable, "-c", _SEEN_PROGRAM, str(seen), "simulate", "churn", "--duration", "80000"]
    process = subprocess.Popen(
        [*command, "--nodes", "3", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until_blocking(seen.exists, what="a second was shown", deadline_s=60)

    process.send_signal(number)

    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "interrupted" in json.dumps(json.loads(output)["checks"])
    assert problem(errors)["type"] == "interrupted"


@pytest.mark.processes
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_worker_of_a_sweep_outlives_it(tmp_path: Path, number: signal.Signals) -> None:
    """Neither after Ctrl-C nor when the command is killed."""
    command = [sys.executable, "-c", _PROGRAM, "simulate", str(function_file(tmp_path)), "--nodes", "3", "--json"]
    process = subprocess.Popen(
        [*command, "--duration", "3000", "--seeds", "1..20"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    until_blocking(lambda: len(children_of(process.pid)) >= 2, what="workers run", deadline_s=60)
    children = children_of(process.pid)

    process.send_signal(number)

    _, errors = process.communicate(timeout=60)
    until_blocking(
        lambda: not any(Path(f"/proc/{child}").exists() for child in children), what="the workers end", deadline_s=60
    )
    if number is signal.SIGINT:
        assert "Traceback" not in errors
        assert process.returncode == 130, errors
        assert "interrupted after 0 of 20 seeds" in problem(errors)["detail"]


def test_a_failing_schedule_is_made_small_and_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a scenario file that fails again; no file that is there already is touched."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine-seed-4.toml").write_text("mine")

    code = run(["simulate", f"{function_file(tmp_path)}:hopeless", *QUICK, "--seed", "4"])

    assert code == 1
    assert "saved as mine-seed-4-2.toml" in capsys.readouterr().err
    assert (tmp_path / "mine-seed-4.toml").read_text() == "mine"
    assert run(["simulate", "mine-seed-4-2.toml", "--seed", "4", "--no-shrink"]) == 1
