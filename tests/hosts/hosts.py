"""Hosts on one local network: what a person has who runs Pair on several machines.

    with hosts(tmp_path, ["ada", "bob"]) as (ada, bob):
        ada.start()
        bob.start("--key-file", str(ada.key_file))
        wait_until_united([ada, bob])
"""

import contextlib
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
        """Return the ``status``, ``members`` or ``leader`` of its peer; None while it does not answer."""
        done = self.run("--json", "--peer", self.name, "--timeout", "5", what)
        return json.loads(done.stdout) if done.code == 0 else None

    def member(self, name: str) -> dict[str, Any] | None:
        """Return how its peer sees the peer ``name``."""
        rows: list[dict[str, Any]] = self.view("members") or []
        return next((row for row in rows if row["name"] == name), None)


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
