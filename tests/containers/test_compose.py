"""Five containers of the real image on a real engine: what an administrator does to them, and nothing is lost.

The engine is the test's own (``engine.py``), and so is the image that stands in for Python's (``base_image.py``). One
worker runs all of it, in order: an engine and an image are too dear to be made twice.
"""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.base_image import ROOT, make_base_image
from tests.containers.engine import Engine, running_engine
from tests.containers.project import IMAGE, Project, eventually, running_load

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("containers"), pytest.mark.timeout(600)]

CYCLE_MAX_S = 20.0
"""On a machine that does nothing else: with more work than processors it takes in proportion."""

PEERS = [f"peer-{number}" for number in range(1, 6)]
CONTAINER_USER = 10_001


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with running_engine() as engine:
        if not Project.can_run(engine):
            pytest.skip("no Compose: neither docker-compose nor the plugin of docker is installed")
        make_base_image(engine)
        engine.ok("docker", "build", "--network", "none", "--tag", IMAGE, str(ROOT))
        yield engine


def test_image_is_the_program_and_nothing_else(engine: Engine) -> None:
    """Not root, started without a shell, told by a signal and looked after; no source, key or compiler in it."""
    described = engine.inspect(IMAGE)["Config"]
    assert described["User"] == f"{CONTAINER_USER}:{CONTAINER_USER}"
    assert described["Entrypoint"] == ["pair"] and described["Cmd"][0] == "start"
    assert described["StopSignal"] == "SIGTERM"
    assert described["Healthcheck"]["Test"][0] == "CMD"
    assert described["Volumes"] == {"/data": {}}
    found = engine.ok(
        "docker", "run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c",
        "import os, shutil; print(os.listdir('/data'), os.path.exists('/source'), shutil.which('gcc'), os.geteuid())",
    )  # fmt: skip
    assert found.split("\n")[0] == f"[] False None {CONTAINER_USER}"


def test_one_peer_leaves_in_good_order(engine: Engine) -> None:
    """``docker run`` alone founds a network; SIGTERM ends it before anybody kills it, with exit code 0."""
    container = engine.ok("docker", "run", "--detach", IMAGE).strip()
    eventually(
        lambda: "started peer-1" in logs_of(engine, container) or not engine.inspect(container)["State"]["Running"],
        what="the peer's start",
    )
    assert engine.inspect(container)["State"]["Running"], logs_of(engine, container)

    began = time.monotonic()
    engine.ok("docker", "stop", "--time", "60", container)

    assert time.monotonic() - began < 30
    assert engine.inspect(container)["State"]["ExitCode"] == 0
    assert "its data is kept" in logs_of(engine, container)
    engine.ok("docker", "rm", "--volumes", container)


def test_containers_live_through_what_is_done_to_them(engine: Engine) -> None:
    """The life of a network of containers: start, crash, cut, update under load, stop and start (issue: containers)."""
    project = Project(engine, "pair-test", environment={})
    try:
        story = Story(project)
        story.start()
        story.every_peer_answers_alike()
        story.leader_is_killed()
        story.one_is_cut_off()
        story.a_guest_finds_them_by_zeroconf()
        story.all_are_replaced_under_load()
        story.all_are_removed_and_come_back()
    except BaseException:
        print(project.logs())
        raise
    finally:
        project.down()


class Story:
    """The chapters of one long test, in order; each leaves five ready peers."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.engine = project.engine
        self.token = ""
        self.ids: dict[str, str] = {}

    def tell(self, text: str) -> None:
        """Say what happened, for the log of a run (``pytest -s``)."""
        print(f"[containers] {text}", flush=True)

    def start(self) -> None:
        """``compose up`` with nothing prepared: one key, five identities, five ready peers in time."""
        load_before = os.getloadavg()[0]
        began = time.monotonic()
        self.project.compose("up", "--detach", "--no-build")
        containers = self.project.containers()
        self.project.wait_ready(containers)
        took_s = time.monotonic() - began
        slower = max(1.0, max(load_before, os.getloadavg()[0]) / (os.cpu_count() or 1))
        self.tell(f"from image to five ready peers: {took_s:.1f} s (load {slower:.1f})")
        assert len(containers) == 5
        assert took_s <= CYCLE_MAX_S * slower

        self.token = self.project.pair(containers[0], "token", "--level", "member").strip()
        self.settle()
        rows = self.project.document(containers[0], "ps")
        self.tell(self.project.pair(containers[0], "ps"))
        self.tell(self.project.pair(containers[1], "members"))
        self.ids = {row["name"]: row["id"] for row in rows}
        assert sorted(self.ids) == PEERS and len(set(self.ids.values())) == 5
        assert {row["state"] for row in rows} == {"running"}
        ports = sorted(self.project.api_port(container) for container in containers)
        self.tell(f"published at 127.0.0.1: {ports}")
        assert all(8400 <= port <= 8499 for port in ports)

    def every_peer_answers_alike(self) -> None:
        """What is put through one is got from each, from outside and inside; no stranger gets in."""
        for container in self.project.containers():
            name = self.name_of(container)
            status, content = self.ask(container, "PUT", f"/v1/kv/from/{name}", body=name.encode())
            assert status == 200, content
        for container in self.project.containers():
            for name in PEERS:
                assert self.ask(container, "GET", f"/v1/kv/from/{name}") == (200, name.encode())
            assert self.project.ask(container, "GET", "/v1/kv/from/peer-1")[0] == 401
            assert self.project.document(container, "get", "from/peer-1")["value"] == "peer-1"
        elsewhere = self.engine.run("docker", "exec", self.container_of("peer-1"), "pair", "kill", "peer-2")
        assert elsewhere.returncode == 5 and "another container" in elsewhere.stderr

    def leader_is_killed(self) -> None:
        """The others elect; what was put is there; the container starts again as the same peer."""
        leader = self.leader()
        victim = self.container_of(leader)
        others = [container for container in self.project.containers() if container != victim]
        began = time.monotonic()
        self.project.change("kill", victim)
        eventually(lambda: self.leader_at(others) not in (leader, None), what="another leader")
        self.tell(f"{leader} led and was killed; {self.leader_at(others)} leads {time.monotonic() - began:.1f} s later")
        for container in others:
            assert self.ask(container, "GET", f"/v1/kv/from/{leader}") == (200, leader.encode())
        self.project.change("start", victim)
        self.settle()
        assert self.name_of(victim) == leader

    def one_is_cut_off(self) -> None:
        """Taken off the network it is missed, and what is written meanwhile reaches it when it is back."""
        lost, *others = self.project.containers()
        name, network = self.name_of(lost), f"{self.project.name}_default"
        self.project.change("network", "disconnect", network, lost)
        self.project.wait_for_states(others[0], self.token, {name: "failed"})
        assert self.ask(others[0], "PUT", "/v1/kv/cut", body=b"while it was away")[0] == 200
        began = time.monotonic()
        self.project.change("network", "connect", "--alias", "peer", network, lost)
        self.settle()
        self.tell(f"{name} was off the network; {time.monotonic() - began:.1f} s after its return all see each other")
        assert self.project.document(lost, "get", "cut", "--peer", name)["value"] == "while it was away"

    def a_guest_finds_them_by_zeroconf(self) -> None:
        """A container with a copy of the key and no address of anybody joins over the bridge."""
        founder = self.container_of("peer-1")
        copy = self.engine.folder / "network.key"
        show = "print(open('/data/local/network.key').read())"
        copy.write_text(self.engine.ok("docker", "exec", founder, "python", "-c", show))
        copy.chmod(0o400)
        os.chown(copy, CONTAINER_USER, CONTAINER_USER)
        began = time.monotonic()
        guest = self.engine.ok(
            "docker", "run", "--detach", "--network", f"{self.project.name}_default",
            "--env", "PAIR_KEY_FILE=/run/network.key", "--volume", f"{copy}:/run/network.key:ro",
            IMAGE, "start", "--name=guest", "--bind=0.0.0.0",
        ).strip()  # fmt: skip
        self.project.wait_for_states(founder, self.token, {"guest": "alive"})
        self.tell(f"a guest without any address was found by zeroconf {time.monotonic() - began:.1f} s after its start")
        self.engine.ok("docker", "stop", guest)
        self.project.wait_for_states(founder, self.token, {"guest": "left"})
        self.engine.ok("docker", "rm", "--volumes", guest)

    def all_are_replaced_under_load(self) -> None:
        """One by one each container makes way for a new one, which is the same peer; no acknowledged write is lost."""
        with running_load(self.project, self.token, self.ports()) as load:
            for old in self.project.containers():
                load.ports = [self.project.api_port(other) for other in self.project.containers() if other != old]
                name = self.name_of(old)
                self.project.change("stop", old)
                self.project.change("rm", old)
                self.project.compose("up", "--detach", "--no-build", "--no-recreate")
                self.settle()
                load.ports = self.ports()
                assert name in {self.name_of(container) for container in self.project.containers()}
        self.tell(f"all five replaced: {len(load.acknowledged)} writes acknowledged, {len(load.refused)} refused")
        assert len(load.acknowledged) > 100
        assert not load.refused
        looking = [self.project.in_network(load.lost_at, port) for port in self.ports()]
        assert [look.result() for look in looking] == [[]] * 5
        self.tell("each of them is read back through each peer")

    def all_are_removed_and_come_back(self) -> None:
        """Without containers the volume keeps everything: the same five peers, and what they held."""
        self.project.compose("down", "--timeout", "8")
        assert self.project.containers() == []
        self.project.compose("up", "--detach", "--no-build", "--scale", "peer=5")
        self.settle()
        container = self.project.containers()[0]
        assert {row["name"]: row["id"] for row in self.project.document(container, "ps")} == self.ids
        assert self.project.document(container, "get", "cut")["value"] == "while it was away"
        self.tell("all containers removed and made anew: the same five peers, with all that they held")

    # What is there

    def ask(self, container: str, method: str, path: str, *, body: bytes | None = None) -> tuple[int, bytes]:
        return self.project.ask(container, method, path, token=self.token, body=body)

    def ports(self) -> list[int]:
        return [self.project.api_port(container) for container in self.project.containers()]

    def settle(self) -> None:
        """Wait until all five are ready and each sees all five."""
        containers = self.project.containers()
        self.project.wait_ready(containers)
        for container in containers:
            self.project.wait_for_states(container, self.token, dict.fromkeys(PEERS, "alive"))

    def name_of(self, container: str) -> str:
        status, content = self.ask(container, "GET", "/v1/status")
        assert status == 200, content
        return str(json.loads(content)["name"])

    def container_of(self, name: str) -> str:
        return next(container for container in self.project.containers() if self.name_of(container) == name)

    def leader(self) -> str:
        """Wait until all follow one, and return who."""
        eventually(lambda: self.leader_at(self.project.containers()), what="one leader")
        return str(self.leader_at(self.project.containers()))

    def leader_at(self, containers: list[str]) -> str | None:
        """Return whom all of the containers' peers follow; None when they differ, or follow nobody."""
        said = set()
        for container in containers:
            status, content = self.ask(container, "GET", "/v1/leader")
            assert status == 200, content
            said.add(json.loads(content)["name"])
        return said.pop() if len(said) == 1 else None


def test_secrets_from_outside_take_the_place_of_made_ones(engine: Engine, tmp_path: Path) -> None:
    """With the production file no key is made, and the API accepts the given tokens (docs/operations.md)."""
    from bootstrap.home import NetworkFolder

    given = NetworkFolder(tmp_path / "given" / "production")
    network, tokens = given.found("production"), given.tokens()
    for name in ("network.key", "tokens.json"):
        os.chown(given.path / name, 0, CONTAINER_USER)
        (given.path / name).chmod(0o440)
    project = Project(
        engine, "pair-secret", files=["deploy/compose.production.yml"], environment={"PAIR_SECRETS": str(given.path)}
    )
    try:
        project.compose("up", "--detach", "--no-build", "--scale", "peer=2")
        containers = project.containers()
        project.wait_ready(containers)
        for container in containers:
            project.wait_for_states(container, tokens.read, {"peer-1": "alive", "peer-2": "alive"})
            assert project.document(container, "status")["network"] == network.name
        look = "import os; print(os.listdir('/data/production'))"
        kept = engine.ok("docker", "exec", containers[0], "python", "-c", look)
        assert "network.key" in kept and "admin.key" not in kept
    except BaseException:
        print(project.logs())
        raise
    finally:
        project.down()


def logs_of(engine: Engine, container: str) -> str:
    done = engine.run("docker", "logs", container)
    return done.stdout + done.stderr
