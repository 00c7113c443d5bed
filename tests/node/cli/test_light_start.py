"""Commands start fast: nothing heavy is imported before something needs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("aiohttp", "cryptography", "rich", "zeroconf", "tinydb", "kademlia", "asyncio", "uvloop")

_PROGRAM = """
import contextlib, io, json, sys
from node.cli import run
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    code = run(sys.argv[1:])
print(json.dumps([code, sorted(set(sys.modules))]))
"""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--help"], 0),
        (["ps"], 0),
        (["get", "a"], 4),
        (["put", "a", "b"], 4),
        (["kill", "leader"], 3),
        (["down"], 0),
        (["up", "--help"], 0),
        (["token"], 3),
    ],
)
def test_command_imports_nothing_heavy(arguments: list[str], expected: int, tmp_path: Path) -> None:
    """What only peers need is not imported by a command."""
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PAIR_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )

    code, modules = json.loads(done.stdout)

    assert code == expected
    assert not set(HEAVY) & set(modules)
