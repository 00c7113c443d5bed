#!/usr/bin/env python3
"""Run Pair from a fresh clone: needs Python 3.11 or later and git, nothing else.

    python3 run.py up 5         make the environment when it is missing, then run ``pair up 5``
    python3 run.py ARGUMENTS    the same for any arguments of ``pair``
    python3 run.py test [...]   run the tests; further arguments go to pytest
    python3 run.py check        lint and type-check
    python3 run.py bench [...]  measure, beside other systems; --help tells more
    python3 run.py fuzz [...]   send a million hostile inputs through every decoder; --help tells more

The environment is the folder ``.venv`` beside this file. It is made once, and again brought up to date when
``pyproject.toml`` changed or the folder moved; otherwise this file only hands over to it. Messages go to standard
error, so that standard output is the command's own.
"""

import contextlib
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

# Plain old syntax up to here: an older Python must get far enough to say what is wrong.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit(
        "Pair needs Python 3.11 or later; this is Python %d.%d.\n"  # noqa: UP031
        "Next step: install a newer one and run this file with it, for example: python3.12 run.py up 5"
        % sys.version_info[:2]
    )
if os.name != "posix":
    sys.exit("Pair runs on Linux and macOS.\nNext step: on Windows, use the Windows Subsystem for Linux.")

import fcntl

ROOT = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / "pair-installed.json"
"""Written last: what the environment was made from. Missing or different means: install."""

PIP_TAIL_LINES = 20
PIP_TIMEOUT_S = 900.0
"""A slow line needs a few minutes; after this something is stuck."""


class Stamp(NamedTuple):
    """What the environment was made from."""

    made_from: str
    """See ``fingerprint``; empty when there is no finished environment."""

    extras: tuple[str, ...]


def main(arguments: list[str]) -> NoReturn:
    """Make the environment when needed, then become the asked command."""
    command = arguments[0] if arguments else ""
    if command == "test":
        prepare(("test",))
        os.chdir(ROOT)
        become([str(PYTHON), "-m", "pytest", "-n", "2", "--dist", "loadgroup", *arguments[1:]])
    if command == "bench":
        prepare(())
        os.chdir(ROOT)
        become([str(PYTHON), "-m", "benchmarks", *arguments[1:]])
    if command == "fuzz":
        prepare(("test",))
        os.chdir(ROOT)
        become([str(PYTHON), "-m", "tests.fuzz", *arguments[1:]])
    if command == "check":
        prepare(("dev", "test"))
        os.chdir(ROOT)
        sys.exit(check())
    prepare(())
    become([str(ENVIRONMENT / "bin" / "pair"), *arguments])


def check() -> int:
    """Run the linter and the type checker, both even if the first complains; return the worse exit code."""
    worst = 0
    for tool in (["ruff", "check", "."], ["mypy"]):
        print("$", *tool, flush=True)
        worst = max(worst, subprocess.run([str(PYTHON), "-m", *tool], check=False).returncode)
    return worst


def become(command: list[str]) -> NoReturn:
    """Replace this process, so that signals and the exit code are the command's own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(command[0], command)


def prepare(extras: tuple[str, ...]) -> None:
    """Make sure that the environment exists and has ``extras``; quick when it does."""
    if is_ready(extras):
        return
    try:
        with lock():
            if not is_ready(extras):
                make_environment()
                install(extras)
    except OSError as error:
        fail(f"cannot make the environment: {error}", "check the disk space and the permissions of " + str(ROOT))


def is_ready(extras: tuple[str, ...]) -> bool:
    """Return whether the environment was made from the present pyproject.toml, here, with ``extras``."""
    stamp = read_stamp()
    return PYTHON.exists() and stamp.made_from == fingerprint() and set(extras) <= set(stamp.extras)


def read_stamp() -> Stamp:
    """Return what the environment was made from; empty when there is none or it was not finished."""
    try:
        fields = json.loads(STAMP.read_text())
        return Stamp(str(fields["made_from"]), tuple(str(extra) for extra in fields["extras"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Stamp("", ())


def fingerprint() -> str:
    """Return a hash of what an installation depends on: the folder and pyproject.toml."""
    return hashlib.sha256(bytes(ROOT) + b"\0" + (ROOT / "pyproject.toml").read_bytes()).hexdigest()


@contextlib.contextmanager
def lock() -> Iterator[None]:
    """Let one run at a time touch the environment. The lock lies on this very file: nothing is left behind."""
    with Path(__file__).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another run of this file to finish the environment ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make_environment() -> None:
    """Make ``.venv`` with pip in it, unless a working one is there."""
    if PYTHON.exists() and subprocess.run([str(PYTHON), "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        fail(
            "this Python lacks the modules venv and ensurepip",
            f"on Debian and Ubuntu: sudo apt install python{version}-venv (or python3-venv); then run this again",
        )
    say("Making the environment in .venv (once; about a minute) ...")
    made = subprocess.run(
        [sys.executable, "-m", "venv", "--clear", str(ENVIRONMENT)],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        print(tail(made.stdout), file=sys.stderr)
        fail("python -m venv failed; its last words are above", f"repair Python {version}, then run this again")


def install(extras: tuple[str, ...]) -> None:
    """Install Pair from this folder, with ``extras`` and those that are installed already."""
    known = read_stamp().extras
    wanted = sorted({*known, *extras})
    STAMP.unlink(missing_ok=True)
    say("Installing Pair and what it needs into .venv ..." if not known else "Bringing .venv up to date ...")
    target = f"{ROOT}[{','.join(wanted)}]" if wanted else str(ROOT)
    command = [str(PYTHON), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "--editable", target]
    try:
        pip = subprocess.run(
            command,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            errors="replace", timeout=PIP_TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        fail(f"pip did not finish within {PIP_TIMEOUT_S:.0f} s", "check the network (and PIP_INDEX_URL, proxies)")
    if pip.returncode != 0:
        print(tail(pip.stdout), file=sys.stderr)
        fail(
            f"pip could not install (exit code {pip.returncode}); its last words are above",
            "check the network (and PIP_INDEX_URL, proxies), then run this again",
        )
    STAMP.write_text(json.dumps(Stamp(fingerprint(), tuple(wanted))._asdict()) + "\n")


def tail(text: str) -> str:
    """Return the last lines of a tool's output."""
    return "\n".join(text.rstrip().splitlines()[-PIP_TAIL_LINES:])


def say(text: str) -> None:
    """Tell a person what is going on."""
    print(text, file=sys.stderr, flush=True)


def fail(cause: str, next_step: str) -> NoReturn:
    """End with a clear message and exit code 1."""
    say(f"run.py: {cause}.\nNext step: {next_step}.")
    sys.exit(1)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
