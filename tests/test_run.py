"""``run.py``: from a fresh clone to a running command, with a clear word when that fails.

The environment is a fake: a ``.venv`` whose ``python`` is a script, and a ``python3`` that makes such a folder.
The real thing is what started these tests.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import DEADLINE_S

RUN = Path(__file__).resolve().parent.parent / "run.py"

PYTHON_SCRIPT = """#!/bin/sh
cd "$(dirname "$0")"
echo "$@" >> calls
case "$*" in
  *"pip --version") exit 0 ;;
  *"pip install"*) sleep 0.2; {pip} ;;
  *pytest*) shift 2; echo "pytest in $OLDPWD: $@" ;;
  *) echo "$@" ;;
esac
"""
PAIR_SCRIPT = '#!/bin/sh\necho "pair in $PWD: $@"\nexit 3\n'


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A folder with run.py, a project file and an environment that is not installed yet."""
    folder = tmp_path / "a clone"
    folder.mkdir()
    shutil.copy(RUN, folder)
    (folder / "pyproject.toml").write_text("[project]\n")
    make_environment(folder)
    return folder


def make_environment(folder: Path, *, pip: str = "exit 0") -> None:
    """Put the fake environment in place; ``pip`` is what its pip does."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for name, text in (("python", PYTHON_SCRIPT.format(pip=pip)), ("pair", PAIR_SCRIPT)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, str(folder / "run.py"), *arguments]


def run(folder: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(folder, *arguments), cwd=cwd or folder, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )


def run_after(folder: Path, preparation: str) -> subprocess.CompletedProcess[str]:
    """Run ``run.py ps`` in an interpreter in which ``preparation`` was executed before."""
    script = str(folder / "run.py")
    start = f"import runpy, sys; sys.argv = [{script!r}, 'ps']; runpy.run_path({script!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", f"{preparation}\n{start}"],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def installs(folder: Path) -> list[str]:
    calls = folder / ".venv" / "bin" / "calls"
    return [line for line in calls.read_text().splitlines() if "pip install" in line] if calls.exists() else []


def test_arguments_output_exit_code_and_folder_are_those_of_pair(clone: Path, tmp_path: Path) -> None:
    """``python3 run.py ARGUMENTS`` becomes ``pair ARGUMENTS``, from any folder; standard output is its own."""
    done = run(clone, "up", "5", "--detach", cwd=tmp_path)

    assert done.stdout == f"pair in {tmp_path}: up 5 --detach\n"
    assert done.returncode == 3
    assert "Installing" in done.stderr


def test_a_second_run_installs_nothing(clone: Path) -> None:
    """The environment is made once."""
    run(clone, "ps")

    done = run(clone, "ps")

    assert done.stderr == ""
    assert len(installs(clone)) == 1


def test_a_changed_project_or_a_moved_folder_is_installed_again(clone: Path) -> None:
    """New dependencies arrive by themselves; scripts that name the old folder are written again."""
    run(clone, "ps")
    (clone / "pyproject.toml").write_text("[project]\nname = 'pair'\n")
    run(clone, "ps")
    moved = clone.rename(clone.with_name("moved"))

    run(moved, "ps")

    assert len(installs(moved)) == 3
    assert f"{moved}" in installs(moved)[2]


def test_tests_run_in_parallel_from_the_project_folder_with_arguments_passed_on(clone: Path, tmp_path: Path) -> None:
    """``python3 run.py test`` adds what the tests need, and keeps it for later."""
    done = run(clone, "test", "-k", "name", cwd=tmp_path)

    assert done.stdout == f"pytest in {clone}: -n 2 --dist loadgroup -k name\n"
    assert installs(clone)[0].endswith("[test]")
    run(clone, "check")
    assert installs(clone)[1].endswith("[dev,test]")
    run(clone, "test")
    assert len(installs(clone)) == 2


def test_check_runs_the_linter_and_the_type_checker(clone: Path) -> None:
    """Both run, whatever the first says."""
    done = run(clone, "check")

    assert done.returncode == 0
    assert [line for line in done.stdout.splitlines() if line.startswith("$")] == ["$ ruff check .", "$ mypy"]


def test_runs_at_the_same_time_install_once(clone: Path) -> None:
    """A lock lets one run make the environment; the others wait and use it."""
    runs = [
        subprocess.Popen(command(clone, "ps"), cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]

    outputs = [process.communicate(timeout=DEADLINE_S) for process in runs]

    assert [output for output, _ in outputs] == [f"pair in {clone}: ps\n"] * 3
    assert len(installs(clone)) == 1


def test_a_failing_pip_shows_its_last_words_and_is_tried_again(clone: Path) -> None:
    """A half-made environment is never taken for a whole one."""
    make_environment(clone, pip="seq 100; echo 'ERROR: no route to the index'; exit 7")
    failed = run(clone, "ps")
    make_environment(clone)

    done = run(clone, "ps")

    assert failed.returncode == 1
    assert failed.stdout == ""
    assert "ERROR: no route to the index" in failed.stderr
    assert "\n100\n" in failed.stderr and "\n50\n" not in failed.stderr
    assert "exit code 7" in failed.stderr and "Next step:" in failed.stderr
    assert "Traceback" not in failed.stderr
    assert done.returncode == 3


def test_a_damaged_stamp_means_install_again(clone: Path) -> None:
    """Whatever the file holds, it is not trusted blindly."""
    run(clone, "ps")
    for text in ("", "[]", "null", '{"made_from": 1}', json.dumps({"made_from": "x", "extras": 5}), "\x00"):
        (clone / ".venv" / "pair-installed.json").write_text(text)

        assert run(clone, "ps").returncode == 3

    assert len(installs(clone)) == 7


@pytest.mark.parametrize("missing", ["venv", "ensurepip"])
def test_a_python_without_venv_names_the_package_to_install(clone: Path, missing: str) -> None:
    """Debian splits these modules off."""
    shutil.rmtree(clone / ".venv")
    hide = "import importlib.util as util; find = util.find_spec"
    hidden = f"util.find_spec = lambda name, *rest: None if name == {missing!r} else find(name, *rest)"

    done = run_after(clone, f"{hide}; {hidden}")

    assert done.returncode == 1
    assert f"apt install python3.{sys.version_info.minor}-venv" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_older_python_is_told_what_is_needed(clone: Path) -> None:
    """The message comes before anything that an older Python would stumble over."""
    done = run_after(clone, "import sys; sys.version_info = (3, 9, 2)")

    assert done.returncode == 1
    assert "needs Python 3.11 or later; this is Python 3.9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_a_clear_error(clone: Path) -> None:
    """A file in the place of the environment stands for every refusal of the disk."""
    shutil.rmtree(clone / ".venv")
    (clone / ".venv").write_text("in the way")

    done = run(clone, "ps")

    assert done.returncode == 1
    assert "Next step:" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_continuous_integration_needs_no_terminal_and_runs_tests_then_checks() -> None:
    """``.ci/run`` calls what a person calls."""
    script = RUN.parent / ".ci" / "run"
    lines = script.read_text().splitlines()

    assert os.access(script, os.X_OK)
    assert "set -eu" in lines
    assert lines[-2:] == ["python3 run.py test", "python3 run.py check"]
