"""Other programs of the local network: Debian's Avahi sees our services; what somebody forges there fools nobody."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.bootstrap.stranger import Stranger, announcement
from tests.hosts.avahi import Avahi, avahi_on
from tests.hosts.hosts import PEER_PORT, Host, hosts, inside_network, wait_until_united
from tests.waiting import until_blocking

pytestmark = pytest.mark.processes

FORGED: Final = 3000
DIALLED_PER_S_MAX: Final = 110
"""By one peer: ten new addresses a second, each asked some ten times before later ones have taken its place."""


@pytest.fixture
def lan(tmp_path: Path) -> Iterator[list[Host]]:
    """Return three hosts of a network and one that is nobody's; peers run on the first two."""
    with hosts(tmp_path / "hosts", ("ada", "bob", "cid", "mal")) as lan:
        ada, bob, *_ = lan
        ada.start()
        bob.start("--key-file", str(ada.key_file))
        wait_until_united([ada, bob])
        yield lan


@pytest.fixture
def avahi(lan: list[Host], tmp_path: Path) -> Iterator[Avahi]:
    """Return Avahi on the host that is nobody's."""
    with avahi_on(lan[3], tmp_path / "avahi") as avahi:
        yield avahi


def test_avahi_lists_the_peers(lan: list[Host], avahi: Avahi) -> None:
    """Any browser of DNS-SD shows where they are, and nothing of the network's key."""
    seen: dict[str, dict[str, str]] = {}

    def both() -> bool:
        seen.update(avahi.services())
        return len(seen) == 2

    until_blocking(both, what="two services")
    assert {(service["address"], service["port"]) for service in seen.values()} == {
        (host.address, str(PEER_PORT)) for host in lan[:2]
    }
    assert {(service["v"], len(service["net"])) for service in seen.values()} == {("1", 16)}
    assert len({service["net"] for service in seen.values()}) == 1


def test_forged_services_fool_nobody(lan: list[Host], avahi: Avahi) -> None:
    """Odd names, others' names and addresses, wrong ports, long texts: no member comes or goes, and nobody falls."""
    ada, bob, cid, _ = lan
    until_blocking(lambda: len(avahi.services()) == 2, what="two services")
    true = avahi.services()
    tag = next(iter(true.values()))["net"]
    before = {host.name: host.view("status") for host in (ada, bob)}

    avahi.publish("\x1b[31mred\n", PEER_PORT, "v=1", f"net={tag}")
    avahi.publish(next(iter(true)), 9, "v=1", f"net={tag}")
    avahi.publish("long", PEER_PORT, f"net={tag}", "v=1", *(f"x{number}={'y' * 200}" for number in range(5)))
    avahi.publish("twice", PEER_PORT, "net=00", f"net={tag}", "v=1", "v=2")
    avahi.publish("textless", PEER_PORT)
    avahi.publish_address("victim.local", ada.address)
    avahi.publish("elsewhere", 22, "v=1", f"net={tag}", host="victim.local")
    until_blocking(lambda: len(avahi.services()) >= 7, what="the forged services")
    cid.start("--key-file", str(ada.key_file))

    wait_until_united([ada, bob, cid])
    for host in (ada, bob):
        now = host.view("status")
        assert now["members"] == {"alive": 3, "suspect": 0, "failed": 0, "left": 0}, host.logs()
        assert now["uptime_s"] > before[host.name]["uptime_s"], "it did not start again"


def test_thousands_of_forged_services_make_nobody_dial_fast(lan: list[Host]) -> None:
    """A fake responder fills no table: dialling stays slow, and a newcomer is found all the same."""
    ada, bob, cid, mal = lan
    tag = network_tag(mal, ada)

    with inside_network(mal), Stranger(mal.address) as stranger, dialled() as count:
        began = time.monotonic()
        for index in range(FORGED):
            stranger.send(announcement(tag, index=index % 40_000, host=mal.address))
        cid.start("--key-file", str(ada.key_file))
        wait_until_united([ada, bob, cid], deadline_s=60)
        seconds = time.monotonic() - began
        dials = count()

    assert 10 < dials <= 3 * DIALLED_PER_S_MAX * (seconds + 1), f"{dials} in {seconds:.1f} s"
    for host in (ada, bob, cid):
        assert host.view("status")["members"] == {"alive": 3, "suspect": 0, "failed": 0, "left": 0}, host.logs()


def network_tag(listener: Host, announcer: Host) -> bytes:
    """Return the tag of the network, as everybody on the local network hears it."""
    with inside_network(listener), contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ear.bind(("", 5353))
        membership = socket.inet_aton("224.0.0.251") + socket.inet_aton(listener.address)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(listener.address))
        ear.settimeout(20)
        question = b"\0\0\0\0\0\1\0\0\0\0\0\0\x05_pair\x04_tcp\x05local\0\0\x0c\0\1"
        ear.sendto(question, ("224.0.0.251", 5353))
        while True:
            heard, (source, _) = ear.recvfrom(9000)
            if source == announcer.address and b"net=" in heard:
                return heard.partition(b"net=")[2][:16]


@contextlib.contextmanager
def dialled() -> Iterator[Callable[[], int]]:
    """Count the datagrams from peers to forged ports, on the host that this thread is inside."""
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)) as tap:
        tap.setsockopt(socket.SOL_SOCKET, 33, 2**25)  # SO_RCVBUFFORCE: nothing is lost uncounted
        tap.setblocking(False)

        def count() -> int:
            found = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    packet = tap.recv(2048)
                    start = 4 * (packet[0] & 15)
                    source, target = (int.from_bytes(packet[start + at : start + at + 2], "big") for at in (0, 2))
                    found += source == PEER_PORT and target >= 20_000
            return found

        yield count
