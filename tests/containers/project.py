"""The project of ``compose.yml`` on a test's engine: its containers, and their peers as a program beside sees them."""

import contextlib
import http.client
import itertools
import json
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from tests.containers.base_image import ROOT
from tests.containers.engine import Engine
from tests.waiting import until_blocking

IMAGE: Final = "pair-under-test"
REQUEST_TIMEOUT_S: Final = 15.0
CHANGE_TIMEOUT_S: Final = 90.0
"""Takes seconds; much longer where other tests have the processors."""

WRITE_PAUSE_S: Final = 0.05
"""All that is written under load is read back five times, which is to take seconds."""

_T = TypeVar("_T")


class Project:
    """One ``compose up`` and what it made; ``down`` ends it."""

    def __init__(self, engine: Engine, name: str, *, files: Sequence[str] = (), environment: Mapping[str, str]) -> None:
        self.engine = engine
        self.name = name
        self._threads = engine.inside(4)
        self._ports: dict[str, int] = {}
        self._environment = {"PAIR_IMAGE": IMAGE, **environment}
        plugin = engine.run("docker", "compose", "version").returncode == 0
        program = ["docker", "compose"] if plugin else ["docker-compose"]
        named = [option for file in ("compose.yml", *files) for option in ("--file", str(ROOT / file))]
        self._compose = [*program, "--project-name", name, *named]

    @staticmethod
    def can_run(engine: Engine) -> bool:
        """Return whether there is a Compose, of either kind."""
        return shutil.which("docker-compose") is not None or engine.run("docker", "compose", "version").returncode == 0

    def compose(self, *arguments: str) -> str:
        """Run Compose, which must succeed; return what it prints."""
        self._ports.clear()
        return self.engine.ok(*self._compose, *arguments, environment=self._environment)

    def change(self, *arguments: str) -> None:
        """Do something to a container with ``docker``, which must succeed; its port may be another one afterwards."""
        self._ports.clear()
        self.engine.ok("docker", *arguments)

    def containers(self) -> list[str]:
        """Return the ids of the containers that run."""
        label = f"label=com.docker.compose.project={self.name}"
        return self.engine.ok("docker", "ps", "--quiet", "--filter", label).split()

    def pair(self, container: str, *arguments: str) -> str:
        """Run ``pair`` in a container, where it must succeed."""
        return self.engine.ok("docker", "exec", container, "pair", *arguments)

    def document(self, container: str, *arguments: str) -> Any:
        """Run ``pair --json`` in a container and return its document."""
        return json.loads(self.pair(container, "--json", *arguments))

    def api_port(self, container: str) -> int:
        """Return the port of this machine under which the API of a container's peer is published."""
        if container not in self._ports:
            _, _, port = self.engine.ok("docker", "port", container, "8400/tcp").split()[0].rpartition(":")
            self._ports[container] = int(port)
        return self._ports[container]

    def in_network(self, work: Callable[..., _T], *arguments: Any) -> Future[_T]:
        """Do ``work`` in a thread whose sockets are on the engine's host."""
        return self._threads.submit(work, *arguments)

    def ask(
        self, container: str, method: str, path: str, *, token: str = "", body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Ask the published API of a container's peer; raises ``OSError`` when nobody answers."""
        return self.in_network(request, self.api_port(container), method, path, token, body).result()

    def is_ready(self, container: str) -> bool:
        """Return whether the container's peer says so."""
        try:
            return self.ask(container, "GET", "/v1/health")[0] == http.client.OK
        except (OSError, http.client.HTTPException, AssertionError, IndexError):
            return False

    def wait_ready(self, containers: Sequence[str]) -> None:
        """Wait until each of the containers' peers is ready."""
        waiting = list(containers)

        def all_ready() -> bool:
            waiting[:] = [container for container in waiting if not self.is_ready(container)]
            return not waiting

        eventually(all_ready, what=f"{len(containers)} ready peers")

    def members(self, container: str, token: str) -> dict[str, Any]:
        """Return the member table of a container's peer, by name."""
        status, content = self.ask(container, "GET", "/v1/members", token=token)
        assert status == http.client.OK, content
        return {row["name"]: row for row in json.loads(content)}

    def wait_for_states(self, container: str, token: str, states: Mapping[str, str]) -> None:
        """Wait until a peer sees the named members in these states."""

        def seen() -> bool:
            try:
                rows = self.members(container, token)
            except (OSError, http.client.HTTPException, AssertionError):
                return False
            return all(name in rows and rows[name]["state"] == state for name, state in states.items())

        eventually(seen, what=f"members {dict(states)}")

    def logs(self) -> str:
        """Return the ends of all containers' logs, for the message of a failure."""
        return self.engine.run(
            *self._compose, "logs", "--no-color", "--tail=40", environment=self._environment
        ).stdout

    def down(self) -> None:
        """End the containers and delete their volume."""
        self.compose("down", "--volumes", "--timeout", "8")
        self._threads.shutdown()


def eventually(condition: Callable[[], object], *, what: str) -> None:
    """Wait for what becomes of a change to containers."""
    until_blocking(condition, what=what, deadline_s=CHANGE_TIMEOUT_S)


def request(port: int, method: str, path: str, token: str, body: bytes | None) -> tuple[int, bytes]:
    """Ask the API at a port of the host that this thread is on."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_TIMEOUT_S)
    try:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


@dataclass
class Load:
    """Writes key after key, each through the next of the ports that are set just then, and notes what was promised."""

    token: str
    ports: Sequence[int]
    """Replaced, never changed, by whoever changes containers."""

    acknowledged: dict[str, bytes] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def write(self) -> None:
        """Write until ``end``; a port at which nobody answers is passed over."""
        for number in itertools.count():
            if self._ended.wait(WRITE_PAUSE_S):
                return
            key, value, ports = f"load/{number}", f"value {number}".encode(), self.ports
            try:
                status, content = request(ports[number % len(ports)], "PUT", f"/v1/kv/{key}", self.token, value)
            except (OSError, http.client.HTTPException):
                continue
            if status == http.client.OK:
                self.acknowledged[key] = value
            else:
                self.refused.append(f"{status} {content.decode(errors='replace')}")

    def lost_at(self, port: int) -> list[str]:
        """Return what was acknowledged and is not what a peer answers; runs on the engine's host."""
        return [
            key
            for key, value in self.acknowledged.items()
            if request(port, "GET", f"/v1/kv/{key}", self.token, None) != (http.client.OK, value)
        ]

    def end(self) -> None:
        """Stop writing."""
        self._ended.set()


@contextlib.contextmanager
def running_load(project: Project, token: str, ports: Sequence[int]) -> Iterator[Load]:
    """Keep writing while the block runs."""
    load = Load(token, ports)
    writing = project.in_network(load.write)
    try:
        yield load
    finally:
        load.end()
        writing.result(REQUEST_TIMEOUT_S + 1)
