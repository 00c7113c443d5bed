"""The frame of the command line: global options anywhere, exit codes, problems, the table of commands."""

import json
from pathlib import Path
from typing import Any

import click
import pytest

from node.cli import COMMANDS, cli, run
from node.cli.options import Options, PairCommand


@pytest.fixture(autouse=True)
def empty_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No network lives here."""
    for name in ("PAIR_PEER", "PAIR_NETWORK", "PAIR_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PAIR_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_can_be_imported_and_takes_global_options(name: str) -> None:
    """The table names what is there, and its own line of help agrees with nobody else's."""
    command = cli.get_command(click.Context(cli), name)

    assert isinstance(command, PairCommand)
    assert {"peer", "network", "as_json", "explain", "timeout_s", "token_file"} <= {p.name for p in command.params}


@pytest.mark.parametrize("arguments", [["--json", "ps"], ["ps", "--json"]])
def test_global_options_may_stand_before_or_after_the_command(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """DESIGN section 8."""
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out) == []


WRONG: list[tuple[list[str], int]] = [
    (["frobnicate"], 2),
    (["up"], 2),
    (["up", "0"], 2),
    (["up", "many"], 2),
    (["up", "1001"], 2),
    (["up", "3", "--k", "0"], 2),
    (["up", "3", "--profile", "moon"], 2),
    (["up", "3", "--voters", "4"], 2),
    (["up", "3", "--voters", "0"], 2),
    (["up", "9", "--voters", "8"], 2),
    (["start", "--voters", "3"], 2),
    (["up", "3", "--base-port", "70000"], 2),
    (["up", "3", "--base-port", "65533"], 2),
    (["up", "3", "--network", "../evil"], 2),
    (["start", "--port", "0"], 2),
    (["start", "--name", "UPPER"], 2),
    (["start", "--name", "x" * 64], 2),
    (["start", "--bind", "example.org"], 2),
    (["start", "--key-file", "/no/such/file"], 2),
    (["start", "--open", "--bind", "0.0.0.0"], 2),
    (["ps", "--timeout", "nan"], 2),
    (["ps", "--timeout", "0"], 2),
    (["ps", "--network", "nowhere"], 3),
    (["down", "--network", "nowhere"], 3),
    (["kill"], 2),
    (["kill", "leader"], 3),
    (["pause", "peer-1"], 3),
    (["resume", "random"], 3),
    (["restart", "peer-1"], 3),
    (["stop"], 3),
    (["token"], 3),
    (["token", "--level", "god"], 2),
    (["doctor", "--network", "nowhere"], 3),
    (["status"], 4),
    (["members", "--peer", "http://127.0.0.1:1"], 4),
    (["leader", "--peer", "ftp://x"], 2),
    (["elect"], 4),
    (["completion", "tcsh"], 2),
]


@pytest.mark.parametrize(("arguments", "expected"), WRONG, ids=[" ".join(arguments)[:40] for arguments, _ in WRONG])
def test_failure_has_an_exit_code_a_cause_and_a_next_step(
    arguments: list[str], expected: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ``--json`` standard output is empty and the last line of standard error is the problem document."""
    assert run([*arguments, "--json"]) == expected

    captured = capsys.readouterr()
    problem: dict[str, Any] = json.loads(captured.err.splitlines()[-1])
    assert captured.out == ""
    assert problem["exit"] == expected
    assert problem["detail"] and problem["next_step"]
    assert "defect" not in problem["detail"]


def test_failure_for_a_person_is_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Cause and next step; no traceback."""
    assert run(["token"]) == 3

    captured = capsys.readouterr()
    assert captured.out == ""
    cause, step = captured.err.splitlines()
    assert cause == "pair: there is no network 'local' on this machine"
    assert step == "  next: start one: pair up 5"


def test_json_after_two_dashes_is_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    """``--`` ends options, also for the form of an error."""
    assert run(["get", "--", "--json"]) == 4
    assert not capsys.readouterr().err.startswith("{")


def test_wrong_use_founds_nothing(empty_home: Path) -> None:
    """A mistyped command leaves no network behind."""
    for arguments, _ in WRONG:
        if arguments[0] == "up":
            run(arguments)

    assert not list(empty_home.glob("*/*.key"))


def test_empty_variables_count_as_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """``PAIR_PEER=`` in a script means no peer in particular."""
    monkeypatch.setenv("PAIR_PEER", "")
    monkeypatch.setenv("PAIR_NETWORK", "")

    assert run(["ps"]) == 0
    assert Options().network is None
