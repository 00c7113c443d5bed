"""``pair doctor`` between hosts: each way is really broken, and the finding names it with its cause and the fix."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.faults.cut import Cables, cables
from tests.hosts.hosts import Host, hosts_on, wait_until_united
from tests.hosts.switch import Switched, switched
from tests.waiting import until_blocking

pytestmark = pytest.mark.processes

ROOT: Final = Path(__file__).parents[2]


def findings(host: Host) -> dict[str, dict[str, Any]]:
    """Return what the doctor finds on a host, by check; the worst of several of one name."""
    rank = ("broken", "warning", "ok")
    rows = sorted(json.loads(host.run("--json", "doctor").stdout), key=lambda row: -rank.index(row["state"]))
    return {row["name"]: row for row in rows}


def says(finding: dict[str, Any], state: str, *words: str) -> bool:
    """Return whether a finding has a state, names a cause and offers a fix."""
    return finding["state"] == state and all(word in finding["detail"] + finding["next_step"] for word in words)


@pytest.fixture
def wire() -> Iterator[Switched]:
    """Return two hosts on a switch that can filter."""
    with switched(("ada", "bob"), seed=5) as wire:
        yield wire


@pytest.fixture
def net() -> Iterator[Cables]:
    """Return two hosts on a bridge."""
    with cables(("ada", "bob")) as net:
        yield net


@pytest.fixture
def pair(tmp_path: Path, net: Cables) -> Iterator[list[Host]]:
    """Return two hosts on a bridge, with a network key on the first only and nothing running."""
    with hosts_on(net, tmp_path) as pair:
        yield pair


def start_two(ada: Host, bob: Host, *options: str) -> None:
    """Start both peers; the second knows the first as its seed."""
    ada.start("--no-zeroconf", *options)
    bob.start("--no-zeroconf", "--key-file", str(ada.key_file), "--seed", ada.contact, *options)
    wait_until_united([ada, bob])


def test_filtered_ports_are_named_and_nothing_is_while_all_is_well(tmp_path: Path, wire: Switched) -> None:
    """TCP that is dropped on the way, then UDP: the other way answers, so the machine is there."""
    with hosts_on(wire, tmp_path) as (ada, bob):
        start_two(ada, bob)
        well = findings(bob)
        assert {row["state"] for row in well.values()} == {"ok"}, well
        assert "answers by UDP and TCP" in well["local: member ada"]["detail"]

        wire.degrade("bob", "ada", drop=["tcp 7400"])
        assert says(findings(bob)["local: member ada"], "broken", "TCP port 7400 is filtered", "firewall")

        wire.degrade("bob", "ada", drop=["udp 7400"])
        found = findings(bob)
        assert says(found[f"local: seed {ada.contact}"], "broken", "not by UDP", "firewall")


def test_an_address_that_nobody_reaches_is_named(pair: list[Host]) -> None:
    """The others are told an address behind which nobody is: they answer whoever asks, and the peer hears nothing."""
    ada, bob = pair
    ada.start("--no-zeroconf")
    seed = ("--no-zeroconf", "--key-file", str(ada.key_file), "--seed", ada.contact)
    bob.start(*seed, "--advertise", "10.77.0.99")

    until_blocking(lambda: (bob.member("ada") or {}).get("state") == "failed", what="silence", deadline_s=30)
    found = findings(bob)

    assert says(found["local: bob address"], "broken", "10.77.0.99:7400", "no address of this machine", "--advertise")
    assert says(found["local: bob reached"], "broken", "hears ada", "--advertise")


def test_an_address_that_is_gone_is_named(pair: list[Host], net: Cables) -> None:
    """A peer that is bound to one address cannot follow the machine to another."""
    ada, _ = pair
    ada.start("--no-zeroconf")

    net.readdress("ada", "10.77.0.50")

    found = findings(ada)["local: ada address"]
    assert says(found, "broken", "10.77.0.1, which this machine has no more", "--bind 0.0.0.0")


def test_another_network_key_is_named(pair: list[Host]) -> None:
    """Two machines that each founded a network never meet, whatever the seeds say."""
    ada, bob = pair
    ada.start("--no-zeroconf")
    bob.start("--no-zeroconf", "--seed", ada.contact)

    assert says(findings(bob)[f"local: seed {ada.contact}"], "broken", "another network key", "pair join INVITE")


def test_seeds_that_lead_nowhere_are_named(pair: list[Host]) -> None:
    """Nobody listens, nobody is there, no such name: three causes, three fixes."""
    ada, bob = pair
    nobody, nowhere = f"{ada.address}:7444", "10.77.0.77:7400"
    bob.start("--no-zeroconf", "--seed", nobody, "--seed", nowhere)

    found = findings(bob)

    assert says(found[f"local: seed {nobody}"], "warning", "nobody listens")
    assert says(found[f"local: seed {nowhere}"], "broken", "by UDP or TCP", "7400")


def test_a_host_without_an_address_has_no_multicast(pair: list[Host]) -> None:
    """Zeroconf finds nobody while the cable is out."""
    ada, _ = pair
    assert findings(ada)["multicast"]["state"] == "ok"

    inside(ada, "ip", "addr", "flush", "dev", "eth0")
    inside(ada, "ip", "link", "set", "lo", "down")

    assert says(findings(ada)["multicast"], "warning", "zeroconf finds nobody", "--seed")


@pytest.mark.parametrize(
    ("chain", "cause"), [("OUTPUT", "Operation not permitted"), ("INPUT", "does not come back")]
)
def test_filtered_multicast_is_named(pair: list[Host], chain: str, cause: str) -> None:
    """A firewall that refuses multicast DNS, on its way out or in; a route proves nothing."""
    ada, _ = pair
    if shutil.which("iptables") is None:
        pytest.skip("needs iptables")
    inside(ada, "iptables", "-A", chain, "-p", "udp", "--dport", "5353", "-j", "DROP")

    assert says(findings(ada)["multicast"], "warning", cause, "5353")


def inside(host: Host, *command: str) -> None:
    """Run a program of the system on a host."""
    subprocess.run([*host.inside, *command], check=True, capture_output=True)


def test_other_versions_and_wrong_clocks_are_named(pair: list[Host]) -> None:
    """A member that was not updated, seen from the other machine and from its own; a machine that is an hour ahead."""
    ada, bob = pair
    ada.start("--no-zeroconf")
    seed = ("--no-zeroconf", "--key-file", str(ada.key_file), "--seed", ada.contact)
    with running(bob, "other_version", "0.0.9", *seed):
        assert says(findings(ada)["local: member bob"], "warning", "runs version 0.0.9", "same version")
        assert says(findings(bob)["local: bob version"], "warning", "0.0.9", "pair restart bob")
    with running(bob, "shifted_clock", "3600"):
        third = ("--name", "cid", "--bind", bob.address, "--port", "7500", "--api-port", "8500")
        bob.ok("start", "--detach", "--no-zeroconf", *third)
        until_blocking(lambda: "local: bob clock" in findings(bob), what="a clock an hour ahead", deadline_s=30)
        assert says(findings(bob)["local: bob clock"], "warning", "3600 s ahead", "NTP")


@contextlib.contextmanager
def running(host: Host, program: str, argument: str, *options: str) -> Iterator[None]:
    """Run the peer of ``host`` in the foreground by a program of ``tests.faults`` that differs in one way."""
    start = ("--json", "start", "--name", host.name, "--bind", host.address, "--port", "7400", "--api-port", "8400")
    command = subprocess.Popen(
        [*host.inside, sys.executable, "-m", f"tests.faults.{program}", argument, *start, *options],
        cwd=ROOT, env=host.environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert command.stdout is not None
    try:
        assert json.loads(command.stdout.readline())["name"] == host.name
        until_blocking(lambda: (host.view("status") or {}).get("members", {}).get("alive", 0) > 1, what="the others")
        yield
    finally:
        command.send_signal(signal.SIGTERM)
        command.communicate(timeout=30)
