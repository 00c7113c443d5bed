"""A host gets another address, and is found there by all others: while its peer runs, and after a restart."""

from collections.abc import Iterator

import pytest

from tests.faults.cut import Cables, cables
from tests.hosts.hosts import Host, hosts_on, wait_until_united
from tests.running import kill

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("moving")]

NAMES = ("ada", "bob", "cid", "dot", "eve")


@pytest.fixture(scope="module")
def net() -> Iterator[Cables]:
    """Return the network of five hosts."""
    with cables(NAMES) as net:
        yield net


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory, net: Cables) -> Iterator[list[Host]]:
    """Return five hosts whose peers form one network and listen on all interfaces; each test moves another."""
    with hosts_on(net, tmp_path_factory.mktemp("moving")) as five:
        first, *others = five
        first.start("--no-zeroconf", bind="0.0.0.0")
        for host in others:
            seed = ("--no-zeroconf", "--key-file", str(first.key_file), "--seed", first.contact)
            host.start(*seed, bind="0.0.0.0")
        wait_until_united(five)
        yield five


def test_a_host_that_gets_another_address_is_found_there_by_all(five: list[Host], net: Cables) -> None:
    """A laptop changes its lease while its peer runs: the same peer in the same boot goes on at the new address."""
    eve = five[4]
    before = eve.member("eve")
    eve.ok("put", "before", "the move")

    net.readdress("eve", "10.77.0.105")
    wait_until_united(five)

    after = eve.member("eve")
    assert before is not None and after is not None
    assert after["id"] == before["id"] and after["incarnation"] > before["incarnation"]
    assert eve.peers()["eve"]["address"] == "10.77.0.105:7400"
    assert [host.json("get", "before")["value"] for host in five] == ["the move"] * 5
    eve.ok("put", "after", "x" * 100_000)  # by TCP to other holders, and from there back
    assert {len(host.json("get", "after")["value"]) for host in five} == {100_000}


def test_a_host_that_starts_again_with_another_address_is_found_there_by_all(five: list[Host], net: Cables) -> None:
    """It remembers the others, who believe its newer boot and forget where it was."""
    dot = five[3]
    kill(dot.peers()["dot"]["pid"])
    net.readdress("dot", "10.77.0.104")

    dot.start(bind="10.77.0.104")

    wait_until_united(five)
