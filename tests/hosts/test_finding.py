"""Peers of five hosts find each other: by zeroconf alone, by a seed alone, by an invite alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.hosts.hosts import API_PORT, PEER_PORT, Host, hosts, wait_until_united

pytestmark = pytest.mark.processes

NAMES: Final = ("ada", "bob", "cid", "dot", "eve")


@pytest.fixture
def five(tmp_path: Path) -> Iterator[list[Host]]:
    """Return five hosts on one bridge, with nothing on them."""
    with hosts(tmp_path, NAMES) as five:
        yield five


def test_five_hosts_find_each_other_by_zeroconf_alone(five: list[Host]) -> None:
    """All that a host has is the network key: no address of another (DESIGN section 6)."""
    first, *others = five
    first.start()
    for host in others:
        host.start("--key-file", str(first.key_file))

    wait_until_united(five)

    five[1].ok("put", "greeting", "from bob")
    assert five[4].json("get", "greeting")["value"] == "from bob"


def test_five_hosts_find_each_other_by_one_seed_alone(five: list[Host]) -> None:
    """Without multicast one address is enough, also when the host behind it starts last."""
    first, *others = five
    first.start("--no-zeroconf")
    first.ok("stop", first.name)
    for host in others:
        host.start("--no-zeroconf", "--key-file", str(first.key_file), "--seed", first.contact)
    first.start("--no-zeroconf")

    wait_until_united(five)


def test_five_hosts_find_each_other_by_one_invite_alone(five: list[Host]) -> None:
    """All that a host has is one line of text: no key, no address, an empty home folder."""
    first, *others = five
    first.start("--no-zeroconf")
    invite = first.json("invite", "--uses", str(len(others)))["invite"]
    for host in others:
        ports = ("--port", str(PEER_PORT), "--api-port", str(API_PORT))
        host.ok("join", invite, "--name", host.name, "--detach", "--no-zeroconf", *ports)

    wait_until_united(five)
