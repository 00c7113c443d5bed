"""Bad wires: a bridge that is cut and healed, links that delay and lose; verdicts stay right, one network remains."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.faults.cut import Cables, cables
from tests.hosts.hosts import Host, hosts_on, wait_until_united
from tests.hosts.switch import Switched, switched
from tests.running import kill
from tests.waiting import until_blocking

pytestmark = pytest.mark.processes

SEED: Final = 7


@pytest.fixture
def net() -> Iterator[Cables]:
    """Return four hosts on a bridge."""
    with cables(("ada", "bob", "cid", "dot")) as net:
        yield net


@pytest.fixture
def wire() -> Iterator[Switched]:
    """Return four hosts on a switch in user space."""
    with switched(("ada", "bob", "cid", "dot"), seed=SEED) as wire:
        yield wire


def test_a_cut_of_the_bridge_heals(tmp_path: Path, net: Cables) -> None:
    """Each island has its own leader (mode *available*); healed, all follow one, and what both wrote is there."""
    with hosts_on(net, tmp_path) as four:
        start_all(four)
        wait_until_united(four)

        net.cut(["cid", "dot"])
        leaders = {wait_until_united(four[:2]), wait_until_united(four[2:])}
        assert len(leaders) == 2
        four[0].ok("put", "left", "island")
        four[3].ok("put", "right", "island")
        net.heal()

        assert wait_until_united(four) in leaders
        for host in four:
            assert host.json("get", "left")["value"] == host.json("get", "right")["value"] == "island"


def test_verdicts_stay_right_on_slow_and_lossy_links(tmp_path: Path, wire: Switched) -> None:
    """40 to 60 ms there and as much back, a tenth of the frames lost: nobody alive is given up, and who dies is."""
    with hosts_on(wire, tmp_path) as four:
        start_all(four, "--profile", "lan")
        wait_until_united(four)

        wire.degrade_all(delay_ms=40, jitter_ms=20, loss=0.1)
        for number in range(12):
            writer = four[number % 4]
            writer.ok("put", f"key-{number}", writer.name)
            for host in four:
                assert "failed" not in states(host).values(), host.logs()

        victim = four[3]
        kill(victim.peers()[victim.name]["pid"])
        right = {"ada": "alive", "bob": "alive", "cid": "alive", "dot": "failed"}
        until_blocking(lambda: all(states(host) == right for host in four[:3]), what="the right verdict", deadline_s=30)
        found = [four[0].json("get", f"key-{number}")["value"] for number in range(12)]
        assert found == ["ada", "bob", "cid", "dot"] * 3


def start_all(hosts: list[Host], *options: str) -> None:
    """Start a peer on each host; they find each other by zeroconf alone."""
    first, *others = hosts
    first.start(*options)
    for host in others:
        host.start("--key-file", str(first.key_file), *options)


def states(host: Host) -> dict[str, str]:
    """Return the state of each member as the peer of ``host`` sees it; a suspect still counts as alive."""
    rows = host.view("members") or []
    return {row["name"]: "alive" if row["state"] == "suspect" else row["state"] for row in rows}
