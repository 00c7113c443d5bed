"""Real networks for tests: a home folder of their own, the ``pair`` program, and nothing left behind."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bootstrap.home import list_networks
from tests.waiting import until_blocking

PAIR = Path(sys.executable).with_name("pair")
COMMAND_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.stdout.decode()

    def document(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        assert self.code == 0, f"exit {self.code}: {self.stderr}"
        return json.loads(self.stdout)

    def problem(self) -> dict[str, Any]:
        """The problem document of a failed command with ``--json``: the last line of standard error."""
        assert self.code != 0, self.text
        assert self.stdout == b"", "a failure prints nothing on standard output"
        problem: dict[str, Any] = json.loads(self.stderr.strip().splitlines()[-1])
        assert problem["exit"] == self.code
        return problem


class Home:
    """One ``PAIR_HOME`` and what runs from it."""

    def __init__(self, folder: Path, *, inside: Sequence[str] = ()) -> None:
        """Run nothing yet; ``inside`` is put before each command, to run it in other namespaces."""
        self.folder = folder
        self.inside = tuple(inside)
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("PAIR_")
        } | {"PAIR_HOME": str(folder), "NO_COLOR": "1", "COLUMNS": "120"}

    def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        timeout_s: float = COMMAND_TIMEOUT_S,
        environment: Mapping[str, str] | None = None,
    ) -> Done:
        """Run ``pair`` with ``arguments`` to its end."""
        done = subprocess.run(
            [*self.inside, str(PAIR), *arguments],
            input=stdin if stdin is not None else b"",
            capture_output=True,
            env={**self.environment, **(environment or {})},
            timeout=timeout_s,
            check=False,
        )
        shown = done.stderr.decode(errors="replace")
        assert "Traceback" not in shown, shown
        return Done(done.returncode, done.stdout, shown)

    def ok(self, *arguments: str, stdin: bytes | None = None, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        """Run ``pair``, which must succeed."""
        done = self.run(*arguments, stdin=stdin, timeout_s=timeout_s)
        assert done.code == 0, f"pair {' '.join(arguments)}: exit {done.code}\n{done.stderr}{self.logs()}"
        return done

    def json(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """Run ``pair --json``, which must succeed, and return its document."""
        return self.ok("--json", *arguments, timeout_s=timeout_s).document()

    def up(self, count: int, *options: str, timeout_s: float = COMMAND_TIMEOUT_S) -> list[dict[str, Any]]:
        """Start a network and return its peers; it is ready then. Zeroconf stays out: other tests run beside."""
        peers: list[dict[str, Any]] = self.json(
            "up", str(count), "--detach", "--no-zeroconf", *options, timeout_s=timeout_s
        )
        return peers

    def peers(self, *options: str) -> dict[str, dict[str, Any]]:
        """Return the rows of ``pair ps`` by name."""
        return {row["name"]: row for row in self.json("ps", *options)}

    def leader_of(self, peer: str) -> str | None:
        """Return the name of the leader that ``peer`` follows, None when it says none or nothing."""
        done = self.run("--json", "--peer", peer, "--timeout", "2", "leader")
        return json.loads(done.stdout)["name"] if done.code == 0 else None

    def wait_for_one_leader(self, names: Sequence[str], *, deadline_s: float = 15.0) -> str:
        """Wait until ``names`` all follow one of themselves, and return which."""
        leaders: list[str | None] = []

        def agreed() -> bool:
            leaders[:] = [self.leader_of(name) for name in names]
            return leaders[0] in names and len(set(leaders)) == 1

        until_blocking(agreed, what=f"one leader of {', '.join(names)}", deadline_s=deadline_s)
        assert leaders[0] is not None
        return leaders[0]

    def logs(self, *, lines_max: int = 15) -> str:
        """Return the ends of all peers' logs, by default short ones for the message of a failure."""
        shown = []
        for log in sorted(self.folder.glob("*/*/peer.log")):
            lines = log.read_text(errors="replace").splitlines()[-lines_max:]
            shown.append("\n".join([f"--- {log.relative_to(self.folder)}", *lines]))
        return "\n".join(["", *shown])

    def close(self) -> None:
        """End every peer of this home, by its own pid, however the test ended."""
        for network in list_networks(self.folder):
            for peer in network.peers():
                run = peer.run()
                if run is not None and run.state in ("running", "paused"):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(run.pid, signal.SIGKILL)

    def request(
        self, api: str, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        """Ask an API address directly; header names come back in lower case."""
        parts = urlsplit(api)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=15)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            response = connection.getresponse()
            content = response.read()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, content
        finally:
            connection.close()


@contextlib.contextmanager
def running_home(folder: Path) -> Iterator[Home]:
    """Give a home, and end what runs from it afterwards. No peer may have logged a fault of its own code."""
    home = Home(folder)
    try:
        yield home
    finally:
        home.close()
    faults = [line for line in home.logs(lines_max=1000).splitlines() if " ERROR asyncio: " in line]
    assert not faults, faults


def kill(pid: int) -> None:
    """SIGKILL a peer and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    until_blocking(lambda: not _exists(pid), what=f"end of process {pid}")


def _exists(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


