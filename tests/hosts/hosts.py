"""Hosts on one local network: what a person has who runs Pair on several machines.

    with hosts(tmp_path, ["ada", "bob"]) as (ada, bob):
        ada.start()
        bob.start("--key-file", str(ada.key_file))
        wait_until_united([ada, bob])
"""

import contextlib
import ctypes
import http.client
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.faults.cut import Cables, cables
from tests.running import Home
from tests.waiting import until_blocking

PEER_PORT: Final = 7400
API_PORT: Final = 8400


class Host(Home):
    """One machine with a peer that bears its name; commands run in its network and from its own home folder."""

    def __init__(self, folder: Path, name: str, net: Cables) -> None:
        super().__init__(folder, inside=net.inside(name))
        self.name: Final = name
        self._net = net

    @property
    def address(self) -> str:
        """The IP address that the machine has just now."""
        return self._net.addresses[self.name]

    @property
    def namespace(self) -> str:
        """Its network namespace."""
        return self._net.namespace(self.name)

    @property
    def contact(self) -> str:
        """Where its peer is, as a seed is written."""
        return f"{self.address}:{PEER_PORT}"

    @property
    def key_file(self) -> Path:
        """Its network key, once it has one; what others are given with ``--key-file``."""
        return self.folder / "local" / "network.key"

    def start(self, *options: str, bind: str | None = None) -> None:
        """Start its peer, on the usual ports; ``bind`` is its own address unless given."""
        ports = ("--port", str(PEER_PORT), "--api-port", str(API_PORT))
        self.ok("start", "--detach", "--name", self.name, "--bind", bind or self.address, *ports, *options)

    def view(self, what: str) -> Any:
        """Return the ``status``, ``members`` or ``leader`` of its peer; None while it does not answer.

        Asked over HTTP from this process, which costs a hundredth of what a command does.
        """
        try:
            token = json.loads((self.folder / "local" / "tokens.json").read_text())["read"]
            connection = http.client.HTTPConnection("127.0.0.1", API_PORT, timeout=5)
            with contextlib.closing(connection):
                with inside_network(self):
                    connection.connect()
                connection.request("GET", f"/v1/{what}", headers={"Authorization": f"Bearer {token}"})
                answer = connection.getresponse()
                return json.loads(answer.read()) if answer.status == 200 else None
        except (OSError, http.client.HTTPException):
            return None

    def member(self, name: str) -> dict[str, Any] | None:
        """Return how its peer sees the peer ``name``."""
        rows: list[dict[str, Any]] = self.view("members") or []
        return next((row for row in rows if row["name"] == name), None)


@contextlib.contextmanager
def inside_network(host: Host) -> Iterator[None]:
    """Let this thread open sockets on another host; those that are open stay where they were opened."""
    enter = ctypes.CDLL(None, use_errno=True).setns
    with Path("/proc/thread-self/ns/net").open("rb") as own, Path("/run/netns", host.namespace).open("rb") as other:
        if enter(other.fileno(), 0) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            enter(own.fileno(), 0)


@contextlib.contextmanager
def hosts(folder: Path, names: Sequence[str]) -> Iterator[list[Host]]:
    """Give hosts on one bridge, and end all that runs on them; skip where the machine allows no namespaces."""
    with cables(names) as net, hosts_on(net, folder) as made:
        yield made


@contextlib.contextmanager
def hosts_on(net: Cables, folder: Path) -> Iterator[list[Host]]:
    """Give a host for each namespace of ``net``, and end all that runs on them."""
    made = [Host(folder / name, name, net) for name in net.names]
    try:
        yield made
    finally:
        for host in made:
            host.close()


def wait_until_united(these: Sequence[Host], *, deadline_s: float = 30.0) -> str:
    """Wait until all of ``these`` see exactly one another, at their present addresses, and follow one; return whom."""
    wanted = {host.name: host.contact for host in these}
    leaders: set[str] = set()

    def united() -> bool:
        leaders.clear()
        for host in these:
            rows = host.view("members") or []
            if {row["name"]: row["address"] for row in rows if row["state"] == "alive"} != wanted:
                return False
            leaders.add(str((host.view("leader") or {}).get("name")))
        return len(leaders) == 1 and leaders <= set(wanted)

    try:
        until_blocking(united, what="one network", deadline_s=deadline_s)
    except AssertionError as error:
        seen = [f"{host.name}: {host.view('leader')} {host.view('members')}{host.logs()}" for host in these]
        raise AssertionError("\n".join([str(error), *seen])) from error
    return leaders.pop()
