"""Zeroconf on the real loopback multicast: hints, bounds, and never a failure."""

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bootstrap import discovery as discovery_module
from bootstrap.discovery import (
    ANNOUNCERS_PER_HOST,
    CANDIDATES_MAX,
    SERVICE_TYPE,
    Discovery,
    NoDiscovery,
    ZeroconfDiscovery,
)
from bootstrap.slots import HostSlots
from protocol.ids import NetworkId, PeerId
from protocol.statements import Address
from tests.bootstrap.stranger import Stranger, announcement
from tests.waiting import DEADLINE_S, until


class Neighbourhood:
    """Starts discoveries of several networks on one host, and stops all of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._salt = os.urandom(16)
        self._started: list[ZeroconfDiscovery] = []
        self.found: dict[int, list[Address]] = {}

    def network_id(self, name: str) -> NetworkId:
        """Return an id that no other test run on this machine has."""
        return NetworkId(hashlib.sha256(self._salt + name.encode()).digest())

    async def start(
        self, *, network: str = "one", port: int, bind: str = "127.0.0.1", patience_s: float = 0.0
    ) -> ZeroconfDiscovery:
        """Start the discovery of a peer at ``port``; what it finds is in ``found[port]``."""
        slots_folder = self._folder / network
        slots_folder.mkdir(exist_ok=True)
        peer = ZeroconfDiscovery(
            network_id=self.network_id(network),
            peer_id=PeerId(hashlib.sha256(b"%d" % port).digest()),
            bind=bind,
            port=port,
            slots_folder=slots_folder,
            patience_s=patience_s,
        )
        self._started.append(peer)
        self.found[port] = []
        await peer.start(self.found[port].append)
        return peer

    async def stop(self) -> None:
        """Stop every peer."""
        for peer in self._started:
            await peer.stop()


@pytest.fixture
async def neighbourhood(tmp_path: Path) -> AsyncIterator[Neighbourhood]:
    """Peers that end with the test."""
    neighbours = Neighbourhood(tmp_path)
    yield neighbours
    await neighbours.stop()


def at(port: int) -> Address:
    return Address("127.0.0.1", port)


def is_open(peer: ZeroconfDiscovery) -> bool:
    return peer._zeroconf is not None


def is_announced(peer: ZeroconfDiscovery) -> bool:
    return peer._is_announced


async def test_two_peers_of_one_network_find_each_other(neighbourhood: Neighbourhood) -> None:
    """A ``pair start`` beside a running network joins it with no address given (DESIGN section 6)."""
    await neighbourhood.start(port=17401)
    await neighbourhood.start(port=17402)

    await until(lambda: at(17402) in neighbourhood.found[17401] and at(17401) in neighbourhood.found[17402])

    assert neighbourhood.found == {17401: [at(17402)], 17402: [at(17401)]}


async def test_networks_on_one_host_do_not_find_each_other(neighbourhood: Neighbourhood) -> None:
    """Instances that carry another network's tag are ignored."""
    await neighbourhood.start(network="one", port=17411)
    await neighbourhood.start(network="two", port=17412)
    await neighbourhood.start(network="one", port=17413)
    await neighbourhood.start(network="two", port=17414)

    await until(lambda: all(neighbourhood.found.values()))

    assert neighbourhood.found == {17411: [at(17413)], 17412: [at(17414)], 17413: [at(17411)], 17414: [at(17412)]}


async def test_only_three_peers_announce_and_the_rest_open_nothing_in_company(neighbourhood: Neighbourhood) -> None:
    """Fifty announcers would cost two seconds of processor."""
    announcers = [await neighbourhood.start(port=17421 + index) for index in range(ANNOUNCERS_PER_HOST)]
    await until(lambda: all(map(is_announced, announcers)))
    others = [await neighbourhood.start(port=17431 + index) for index in range(3)]
    await until(lambda: all(neighbourhood.found[17431 + index] for index in range(3)))
    for peer in (*announcers, *others):
        peer.set_alone(False)

    await until(lambda: not any(map(is_open, others)))

    assert all(map(is_announced, announcers))
    assert not any(map(is_announced, others))


async def test_a_peer_that_is_alone_again_browses_again(neighbourhood: Neighbourhood) -> None:
    """The others browse only while they are alone."""
    for index in range(ANNOUNCERS_PER_HOST):
        await neighbourhood.start(port=17441 + index)
    other = await neighbourhood.start(port=17451)
    await until(lambda: bool(neighbourhood.found[17451]))
    other.set_alone(False)
    await until(lambda: not is_open(other))
    neighbourhood.found[17451].clear()

    other.set_alone(True)

    await until(lambda: bool(neighbourhood.found[17451]))
    assert is_open(other)


async def test_a_patient_peer_opens_nothing_while_its_seeds_may_answer(neighbourhood: Neighbourhood) -> None:
    """Fifty peers that start together with seeds must not open fifty instances for a moment."""
    announcers = [await neighbourhood.start(port=17461 + index) for index in range(ANNOUNCERS_PER_HOST)]
    patient = await neighbourhood.start(port=17471, patience_s=DEADLINE_S * 10)
    await until(lambda: all(map(is_announced, announcers)))

    assert not is_open(patient)


async def test_a_free_slot_is_taken_by_another_peer(
    neighbourhood: Neighbourhood, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When an announcer ends, its slot goes to a peer that held none."""
    monkeypatch.setattr(discovery_module, "SLOT_RETRY_S", 0.05)
    announcers = [await neighbourhood.start(port=17481 + index) for index in range(ANNOUNCERS_PER_HOST)]
    await until(lambda: all(map(is_announced, announcers)))
    heir = await neighbourhood.start(port=17491)
    heir.set_alone(False)

    await announcers[0].stop()

    await until(lambda: is_announced(heir))
    assert not is_announced(announcers[0])


async def test_stopping_is_quick_idempotent_and_withdraws_the_announcement(
    neighbourhood: Neighbourhood, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer does not find a peer that said goodbye; the others see it go. A goodbye needs no time-out to end."""
    monkeypatch.setattr(discovery_module, "CLOSE_TIMEOUT_S", 60.0)
    peer = await neighbourhood.start(port=17501)
    watcher = await neighbourhood.start(port=17502)
    await until(lambda: bool(neighbourhood.found[17502]))
    began = asyncio.get_running_loop().time()

    await peer.stop()
    await peer.stop()

    assert asyncio.get_running_loop().time() - began < 10.0
    zeroconf = watcher._zeroconf
    assert zeroconf is not None
    names = [f"{hashlib.sha256(b'17501').digest()[:16].hex()}.{SERVICE_TYPE}"]
    await until(lambda: not zeroconf.zeroconf.cache.async_entries_with_name(names[0]))


async def test_stopping_in_the_middle_of_the_start_leaves_nothing(neighbourhood: Neighbourhood) -> None:
    """Whatever the tasks are doing, ``stop`` ends them."""
    tasks_before = asyncio.all_tasks()
    for port in range(17511, 17515):
        peer = await neighbourhood.start(port=port)
        for _ in range(port - 17511):
            await asyncio.sleep(0)
        await peer.stop()
        assert not is_open(peer)

    await until(lambda: asyncio.all_tasks() == tasks_before)


async def test_an_impossible_interface_is_one_warning_and_no_failure(
    neighbourhood: Neighbourhood, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No multicast route is a warning, never a failure."""
    monkeypatch.setattr(discovery_module, "SLOT_RETRY_S", 0.01)
    caplog.set_level(logging.WARNING, logger="bootstrap.discovery")

    peer = await neighbourhood.start(port=17521, bind="203.0.113.9")
    await until(lambda: not peer.available)
    peer.set_alone(False)
    peer.set_alone(True)
    await peer.stop()

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "203.0.113.9" in caplog.text
    assert "seeds still work" in caplog.text


@pytest.mark.parametrize("bind", ["::1", "no-address"])
async def test_a_bind_address_that_zeroconf_cannot_serve_is_no_failure(
    neighbourhood: Neighbourhood, bind: str
) -> None:
    """IPv6 only, or nonsense: not available."""
    peer = await neighbourhood.start(port=17525, bind=bind)

    await until(lambda: not peer.available)

    assert not is_open(peer)


async def test_zeroconf_that_recovers_is_available_again(
    neighbourhood: Neighbourhood, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interface that comes up later is used."""
    monkeypatch.setattr(discovery_module, "SLOT_RETRY_S", 0.01)
    works = discovery_module._check_multicast

    def broken(interfaces: list[str]) -> None:
        raise OSError(19, "No such device")

    monkeypatch.setattr(discovery_module, "_check_multicast", broken)
    peer = await neighbourhood.start(port=17526)
    await until(lambda: not peer.available)

    monkeypatch.setattr(discovery_module, "_check_multicast", works)

    await until(lambda: is_announced(peer))
    assert peer.available


async def test_a_slot_folder_that_cannot_be_written_is_no_failure(
    neighbourhood: Neighbourhood, tmp_path: Path
) -> None:
    """The peer has told its user about the folder already; discovery only gives up."""
    peer = ZeroconfDiscovery(
        network_id=neighbourhood.network_id("one"),
        peer_id=PeerId(bytes(32)),
        bind="127.0.0.1",
        port=17528,
        slots_folder=tmp_path / "missing",
    )
    await peer.start(lambda _: None)
    await until(lambda: not peer.available)
    await peer.stop()

    assert not is_open(peer)


async def test_a_flood_of_services_is_bounded(neighbourhood: Neighbourhood) -> None:
    """A responder with thousands of services fills no table and makes nobody dial more than ten a second."""
    peer = await neighbourhood.start(port=17531)
    await until(lambda: is_announced(peer))
    began = asyncio.get_running_loop().time()

    with Stranger() as stranger:
        for index in range(1000):
            stranger.send(announcement(peer._network_tag, index=index))
            await asyncio.sleep(0)
            assert len(peer._waiting) <= CANDIDATES_MAX
        await until(lambda: len(neighbourhood.found[17531]) >= 10)

    seconds = asyncio.get_running_loop().time() - began
    assert len(neighbourhood.found[17531]) <= 10 * seconds + 1
    assert len(peer._given) <= CANDIDATES_MAX


async def test_useless_announcements_are_ignored(neighbourhood: Neighbourhood) -> None:
    """Other networks, other versions, addresses that are no machine, and noise lead to no dialling."""
    peer = await neighbourhood.start(port=17541)
    await until(lambda: is_announced(peer))
    tag = peer._network_tag

    with Stranger() as stranger:
        stranger.send(announcement(b"0" * 16, index=1))
        stranger.send(announcement(tag, index=2, version=b"2"))
        stranger.send(announcement(tag, index=3, host="224.0.0.251"))
        stranger.send(announcement(tag, index=4, host="0.0.0.0"))
        stranger.send(announcement(tag, index=-20_000))
        stranger.send(b"\xff" * 900)
        stranger.send(announcement(tag, index=6)[:-9])
        stranger.send(announcement(tag, index=7))
        await until(lambda: bool(neighbourhood.found[17541]))

    assert neighbourhood.found[17541] == [Address("198.51.100.1", 20_007)]


def test_slots_are_free_again_when_their_holder_lets_go(tmp_path: Path) -> None:
    """A slot is an advisory lock: it ends with its holder, and taking twice takes one."""
    first, second, third = (HostSlots(tmp_path, "slot", count=2) for _ in range(3))

    assert first.acquire() and first.acquire() and second.acquire()
    assert not third.acquire()
    first.release()
    first.release()
    assert third.acquire()
    assert not first.acquire()
    for slots in (first, second, third):
        slots.release()


async def test_no_discovery_does_nothing() -> None:
    """The port's other implementation, for ``--no-zeroconf``."""
    nothing: Discovery = NoDiscovery()

    await nothing.start(lambda _: pytest.fail("found something"))
    nothing.set_alone(True)
    await nothing.stop()

    assert not nothing.available
