"""A ``PAIR_HOME`` of its own for each test, and the end of every peer that a test started."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bootstrap.home import list_networks
from bootstrap.ports import is_free
from bootstrap.processes import process_state, send_signal
from tests.waiting import until_blocking

PROGRAM = (sys.executable, "-c", "from node.cli import main; main()")
_BLOCK_SIZE = 20
_FIRST_PORT = 12_000
_LAST_PORT = 32_000


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    exit_code: int
    out: str
    err: str

    def document(self) -> Any:
        """Return the one JSON document on standard output."""
        assert self.exit_code == 0, self
        return json.loads(self.out)

    def problem(self) -> dict[str, Any]:
        """Return the problem document on standard error; nothing may be on standard output."""
        assert self.out == "", self
        problem = json.loads(self.err.splitlines()[-1])
        assert problem["exit"] == self.exit_code
        return problem


class Pair:
    """Runs commands in one ``PAIR_HOME``, with a block of ports of its own."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.base = free_block()
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PAIR_")},
            "PAIR_HOME": str(home),
        }

    def __call__(self, *arguments: str, timeout_s: float = 60) -> Ran:
        done = subprocess.run(
            [*PROGRAM, *arguments], capture_output=True, text=True, timeout=timeout_s, env=self.environment, check=False
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command that goes on until it is told to end."""
        return subprocess.Popen(
            [*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment
        )

    def up(self, count: int, *further: str) -> Any:
        """Run ``up --detach`` and return its document."""
        return self("up", str(count), "--detach", "--json", *self.ports(), *further).document()

    def ports(self) -> tuple[str, ...]:
        """Return the options that put a network on the ports of this test."""
        return ("--base-port", str(self.base), "--api-base-port", str(self.base + _BLOCK_SIZE // 2), "--no-zeroconf")

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return what ``ps`` says, by name."""
        return {row["name"]: row for row in self("ps", "--json").document()}

    def end_all(self) -> None:
        """Kill every peer of this home by its own process id, and wait for the end."""
        runs = [run for network in list_networks(self.home) for peer in network.peers() if (run := peer.run())]
        for run in runs:
            send_signal(run.pid, run.process_start, signal.SIGKILL)
        until_blocking(
            lambda: all(process_state(run.pid, run.process_start) == "gone" for run in runs), what="the end of all peers"
        )


def free_block() -> int:
    """Return a base above which some ports are free; where the search begins depends on the process."""
    span = (_LAST_PORT - _FIRST_PORT) // _BLOCK_SIZE
    begin = int.from_bytes(os.urandom(4), "big")
    for step in range(span):
        base = _FIRST_PORT + (begin + step) % span * _BLOCK_SIZE
        if all(is_free("127.0.0.1", base + offset, udp=True) for offset in range(_BLOCK_SIZE)):
            return base
    raise AssertionError("no block of ports is free")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Return a command line in a home of its own; whatever it started is ended, however the test ends."""
    pair = Pair(tmp_path / "home")
    try:
        yield pair
    finally:
        pair.end_all()
