"""A container engine of the test's own: own data, own socket, own network namespace; ended with all that it made.

Whatever engine the machine runs is left alone. Where none can be started the tests are skipped and say why.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from tests.waiting import until_blocking

COMMAND_TIMEOUT_S: Final = 180.0
_NEEDED: Final = ("dockerd", "docker", "containerd", "runc", "iptables", "ip", "nsenter", "setpriv", "umount")
_CLONE_NEWNET: Final = 0x40000000
_END_TIMEOUT_S: Final = 8.0
"""Its containers are gone by then; an engine that has stopped all its parts may wait for one of them for ever."""


class Engine:
    """A running engine; ``run`` is its command line, ``inside`` its host's network."""

    def __init__(self, folder: Path, namespace: Path) -> None:
        self.folder = folder
        self._namespace = namespace
        others = ("PAIR_", "DOCKER_", "COMPOSE_")
        self.environment: Final[Mapping[str, str]] = {
            **{name: value for name, value in os.environ.items() if not name.startswith(others)},
            "DOCKER_HOST": f"unix://{folder / 'engine.sock'}",
            "DOCKER_BUILDKIT": "0",
            "DOCKER_CONFIG": str(folder / "client"),
            "COMPOSE_INTERACTIVE_NO_CLI": "1",
        }

    def inside(self, workers: int) -> ThreadPoolExecutor:
        """Return threads whose sockets are in the network of the engine's host, where ports are published."""
        return ThreadPoolExecutor(workers, "engine-host", initializer=self._enter_network)

    def run(
        self, *command: str, stdin: Any = subprocess.DEVNULL, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a program against this engine to its end, however it ends."""
        return subprocess.run(
            command,
            stdin=stdin, capture_output=True, text=True, errors="replace", timeout=COMMAND_TIMEOUT_S, check=False,
            env={**self.environment, **(environment or {})},
        )  # fmt: skip

    def ok(self, *command: str, stdin: Any = subprocess.DEVNULL, environment: Mapping[str, str] | None = None) -> str:
        """Run a program that must succeed; return what it prints."""
        done = self.run(*command, stdin=stdin, environment=environment)
        assert done.returncode == 0, f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def inspect(self, thing: str) -> dict[str, Any]:
        """Return what the engine knows of a container or image."""
        (found,) = json.loads(self.ok("docker", "inspect", thing))
        return dict(found)

    def _enter_network(self) -> None:
        with self._namespace.open() as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "cannot enter the engine's network")


@contextlib.contextmanager
def running_engine() -> Iterator[Engine]:
    """Start an engine, and end it with everything it made; skips the test where there can be none."""
    if missing := [name for name in _NEEDED if shutil.which(name) is None]:
        pytest.skip(f"no container engine: {', '.join(missing)} not installed (Debian: docker.io, iptables, iproute2)")
    if os.geteuid() != 0:
        pytest.skip("no container engine: only root can start one of the test's own")
    folder = Path(tempfile.mkdtemp(prefix="pair-engine-"))
    name = folder.name
    try:
        added = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
        if added.returncode != 0:
            pytest.skip(f"no container engine: no network namespace of its own ({added.stderr.strip()})")
        engine = Engine(folder, Path("/run/netns") / name)
        with _daemon(engine, name):
            yield engine
    finally:
        subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        _unmount_below(folder)
        shutil.rmtree(folder)


@contextlib.contextmanager
def _daemon(engine: Engine, namespace: str) -> Iterator[None]:
    subprocess.run(["ip", "-n", namespace, "link", "set", "lo", "up"], check=True)
    folder = engine.folder
    command: Sequence[str] = [
        # It ends also when this process does, however that ends.
        "setpriv", "--pdeathsig", "TERM",
        "nsenter", f"--net=/run/netns/{namespace}",
        "dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/engine.pid",
        f"--host=unix://{folder}/engine.sock", "--default-ulimit=nofile=4096:4096",
    ]  # fmt: skip
    log = folder / "engine.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    try:
        until_blocking(
            lambda: process.poll() is not None or engine.run("docker", "info").returncode == 0,
            what="the engine's start",
            deadline_s=60,
        )
        if process.poll() is not None:
            pytest.skip(f"no container engine: dockerd ends at once: {log.read_text()[-500:]}")
        try:
            yield
        finally:
            if left := engine.run("docker", "ps", "--all", "--quiet").stdout.split():
                engine.run("docker", "rm", "--force", "--volumes", *left)
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _unmount_below(folder: Path) -> None:
    """Undo what an engine that had to be killed left mounted."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for place in sorted((place for place in mounted if place.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", place], capture_output=True, check=False)
