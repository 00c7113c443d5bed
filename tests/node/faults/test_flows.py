"""Each way of a peer through the fault plane, on real sockets: what a fault does, and that nothing stays broken."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from node.clock import steady_s
from node.datagrams import DatagramPort
from node.faults.flows import FaultyDatagramPort, FaultyPeerClient, faulty_connect, faulty_handler
from node.faults.plane import HELD_MAX, FaultPlane
from node.links import Links
from node.ports import PeerUnreachable
from node.shapes import FaultOrder
from protocol.effects import Received
from protocol.identity import Identity
from protocol.ids import ANY_RECEIVER, PeerId, ShortId, short_id_of
from protocol.messages import Ping, Refusal
from protocol.statements import Address
from tests.loops import on_every_loop
from tests.node.tcp_peers import (
    ALICE,
    BOB,
    CAROL,
    NETWORK,
    REQUEST,
    descriptor_of,
    hello_of,
    name_caller,
    open_client,
    open_port,
    tls_of,
)
from tests.waiting import until

BRIEFLY_S = 0.2
"""A deadline that is meant to pass."""


class _Plane(FaultPlane):
    """A plane with a seed, and a shorter way to begin a fault."""

    def __init__(self) -> None:
        super().__init__(random=random.Random(7))

    def begin(self, kind: str, *, to: Identity | None = BOB, **fields: Any) -> str:
        peers = {} if to is None else {"peers": [to.peer_id.hex()]}
        return self.add(msgspec.convert({"kind": kind, **peers, **fields}, FaultOrder)).id


@contextlib.asynccontextmanager
async def _plane() -> AsyncIterator[_Plane]:
    plane = _Plane()
    async with asyncio.timeout(30):
        try:
            yield plane
        finally:
            await plane.close()


class _End:
    """A datagram port and the numbers of the pings that reached it."""

    def __init__(self, identity: Identity, plane: FaultPlane | None = None) -> None:
        self.short_id = short_id_of(identity.peer_id)
        self.known: dict[Address, ShortId] = {}
        self.numbers: list[int] = []
        self.stock: list[bytes] = []
        rest: dict[str, Any] = {
            "network": NETWORK,
            "peer_id": identity.peer_id,
            "boot": 2**60,
            "on_message": self._received,
            "on_stock_datagram": lambda data, source: self.stock.append(data),
        }
        self.port = DatagramPort(**rest) if plane is None else FaultyDatagramPort(plane, self.known.get, **rest)

    def _received(self, received: Received) -> None:
        assert isinstance(received.message, Ping)
        self.numbers.append(received.message.sequence)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Address]:
        await self.port.open("127.0.0.1", 0)
        assert self.port._transport is not None
        try:
            yield Address("127.0.0.1", self.port._transport.get_extra_info("sockname")[1])
        finally:
            self.port.close()


@on_every_loop
async def test_a_cut_drops_datagrams_of_the_named_peer_both_ways() -> None:
    """What is sent to it, what comes from it, and what goes to its address as to a stranger's."""
    async with _plane() as plane:
        alice, bob, carol = _End(ALICE, plane), _End(BOB), _End(CAROL)
        async with alice.open() as at_alice, bob.open() as at_bob, carol.open() as at_carol:
            alice.known[at_bob] = bob.short_id
            plane.begin("cut")
            alice.port.send(Ping(sequence=1), at_bob, bob.short_id)
            alice.port.send(Ping(sequence=2), at_bob, ANY_RECEIVER)
            alice.port.send(Ping(sequence=3), at_carol, carol.short_id)
            bob.port.send(Ping(sequence=4), at_alice, alice.short_id)
            carol.port.send(Ping(sequence=5), at_alice, alice.short_id)
            await until(lambda: carol.numbers == [3] and alice.numbers == [5])
            plane.clear(None)
            alice.port.send(Ping(sequence=6), at_bob, bob.short_id)
            bob.port.send(Ping(sequence=7), at_alice, alice.short_id)
            await until(lambda: bob.numbers == [6] and alice.numbers == [5, 7])

        assert plane.counts["lost"] == 3


@on_every_loop
async def test_stock_datagrams_meet_faults_by_address() -> None:
    """They carry no id of ours; who is known to be at an address is meant."""
    async with _plane() as plane:
        alice, bob, carol = _End(ALICE, plane), _End(BOB), _End(CAROL)
        async with alice.open() as at_alice, bob.open() as at_bob, carol.open() as at_carol:
            alice.known[at_bob] = bob.short_id
            plane.begin("cut")
            for number, (end, address) in enumerate(
                [(alice, at_bob), (alice, at_carol), (bob, at_alice), (carol, at_alice)]
            ):
                end.port.send_stock(bytes([0, number]), (address.host, address.port))
            await until(lambda: carol.stock and alice.stock)
            plane.clear(None)
            alice.port.send_stock(bytes([0, 4]), (at_bob.host, at_bob.port))
            await until(lambda: bob.stock)

        assert (alice.stock, bob.stock, carol.stock) == ([b"\0\3"], [b"\0\4"], [b"\0\1"])


@on_every_loop
async def test_a_doubled_datagram_is_the_same_one_twice() -> None:
    """The replay window of the receiver sees through it, as through one that a network doubled."""
    async with _plane() as plane:
        alice, bob = _End(ALICE, plane), _End(BOB)
        async with alice.open() as at_alice, bob.open() as at_bob:
            plane.begin("duplicate", probability=1)
            alice.port.send(Ping(sequence=1), at_bob, bob.short_id)
            bob.port.send(Ping(sequence=2), at_alice, alice.short_id)
            await until(lambda: bob.port.counts["refused"] == alice.port.counts["refused"] == 1)

        assert (bob.numbers, alice.numbers) == ([1], [2])


@on_every_loop
async def test_delayed_datagrams_come_late_and_what_is_under_way_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A queue that is full loses what comes next."""
    monkeypatch.setattr("node.faults.plane.UNDER_WAY_MAX", 2)
    async with _plane() as plane:
        alice, bob = _End(ALICE, plane), _End(BOB)
        async with alice.open(), bob.open() as at_bob:
            plane.begin("delay", ms=50)
            begun = steady_s()
            for sequence in (1, 2, 3):
                alice.port.send(Ping(sequence=sequence), at_bob, bob.short_id)
            await until(lambda: len(bob.numbers) == 2)
            assert steady_s() - begun >= 0.05
            alice.port.send(Ping(sequence=4), at_bob, bob.short_id)
            await until(lambda: bob.numbers == [1, 2, 4])

        assert plane.counts == {"lost": 1, "delayed": 3, "duplicated": 0}


class _Observer:
    """Alice's links through the plane, and what they told her."""

    def __init__(self, plane: FaultPlane) -> None:
        self.lost: list[PeerId] = []
        self.refused: list[PeerId] = []
        self.links = Links(
            hello_bytes=lambda peer: hello_of(ALICE),
            on_lost=lambda peer_id: plane.tell(peer_id, lambda: self.lost.append(peer_id)),
            on_refused=lambda peer_id, boot: self.refused.append(peer_id),
            connect=faulty_connect(plane),
        )


@on_every_loop
async def test_a_cut_link_is_neither_refused_nor_made_until_the_cut_ends(tmp_path: Path) -> None:
    """A cut cable refuses nothing: a refusal would be a verdict within milliseconds."""
    async with _plane() as plane, open_port(BOB, tmp_path) as bob:
        port = bob.port
    async with _plane() as plane:
        alice = _Observer(plane)
        try:
            plane.begin("cut")
            alice.links.keep((descriptor_of(BOB, port), descriptor_of(CAROL, port)))
            alice.links.try_connection(descriptor_of(BOB, port))
            await until(lambda: alice.refused)
            assert BOB.peer_id not in alice.refused
            plane.clear(None)
            await until(lambda: BOB.peer_id in alice.refused)
        finally:
            await alice.links.close()


@on_every_loop
async def test_the_end_of_a_cut_link_is_heard_when_the_cut_ends(tmp_path: Path) -> None:
    """A process that dies behind a cut dies in silence."""
    async with _plane() as plane:
        alice = _Observer(plane)
        try:
            async with open_port(BOB, tmp_path) as bob, open_port(CAROL, tmp_path) as carol:
                alice.links.keep((descriptor_of(BOB, bob.port), descriptor_of(CAROL, carol.port)))
                await until(lambda: bob._links and carol._links)
                plane.begin("cut", direction="in")
            await until(lambda: alice.lost == [CAROL.peer_id])
            plane.clear(None)
            await until(lambda: alice.lost == [CAROL.peer_id, BOB.peer_id])
        finally:
            await alice.links.close()


@contextlib.asynccontextmanager
async def _client(plane: FaultPlane, folder: Path) -> AsyncIterator[FaultyPeerClient]:
    client = FaultyPeerClient(tls_of(ALICE, folder), plane)
    try:
        yield client
    finally:
        await client.close()


@on_every_loop
@pytest.mark.parametrize("direction", ["out", "in"])
async def test_a_cut_request_hangs_to_its_deadline(tmp_path: Path, direction: str) -> None:
    """Whether the way there or the way back is cut; it was served only in the second case."""
    served: list[PeerId] = []

    async def note(caller: PeerId, request: Any) -> Refusal:
        served.append(caller)
        return Refusal(request_id=request.request_id, reason="noted")

    async with _plane() as plane, open_port(BOB, tmp_path, handle=note) as bob, _client(plane, tmp_path) as client:
        plane.begin("cut", direction=direction)
        begun = steady_s()
        with pytest.raises(PeerUnreachable, match="within"):
            await client.request(descriptor_of(BOB, bob.port), REQUEST, BRIEFLY_S)
        assert steady_s() - begun >= BRIEFLY_S * 0.9

    assert len(served) == (direction == "in")


@on_every_loop
async def test_a_request_goes_on_when_its_cut_ends_by_itself(tmp_path: Path) -> None:
    """As retransmission would have it; nobody has to clear anything."""
    async with _plane() as plane, open_port(BOB, tmp_path) as bob, _client(plane, tmp_path) as client:
        plane.begin("cut", seconds=BRIEFLY_S)
        begun = steady_s()
        reply = await client.request(descriptor_of(BOB, bob.port), REQUEST, 10)

        assert isinstance(reply, Refusal) and reply.reason == ALICE.peer_id.hex()
        assert steady_s() - begun >= BRIEFLY_S * 0.9
        assert plane.active() == []


@on_every_loop
async def test_a_refused_request_behind_a_cut_hangs_too(tmp_path: Path) -> None:
    """Nobody there, and nobody to say so."""
    async with _plane() as plane, open_port(BOB, tmp_path) as bob, _client(plane, tmp_path) as client:
        nobody = descriptor_of(BOB, bob.port)
        await bob.stop()
        with pytest.raises(PeerUnreachable, match="cannot connect"):
            await client.request(nobody, REQUEST, BRIEFLY_S)
        plane.begin("cut", direction="in")
        with pytest.raises(PeerUnreachable, match="within"):
            await client.request(nobody, REQUEST, BRIEFLY_S)


@on_every_loop
async def test_delay_comes_on_top_of_each_way(tmp_path: Path) -> None:
    """There and back."""
    async with _plane() as plane, open_port(BOB, tmp_path) as bob, _client(plane, tmp_path) as client:
        plane.begin("delay", ms=50)
        begun = steady_s()
        await client.request(descriptor_of(BOB, bob.port), REQUEST, 10)

        assert steady_s() - begun >= 0.1


@on_every_loop
@pytest.mark.parametrize("direction", ["in", "out"])
async def test_requests_of_others_wait_behind_a_cut(tmp_path: Path, direction: str) -> None:
    """One end of a cut is enough: the other peer need not know of it."""
    async with _plane() as plane:
        handle = faulty_handler(plane, name_caller)
        async with open_port(ALICE, tmp_path, handle=handle) as alice, open_client(BOB, tmp_path) as bob:
            plane.begin("cut", direction=direction)
            with pytest.raises(PeerUnreachable, match="within"):
                await bob.request(descriptor_of(ALICE, alice.port), REQUEST, BRIEFLY_S)
            plane.clear(None)
            reply = await bob.request(descriptor_of(ALICE, alice.port), REQUEST, 10)

    assert isinstance(reply, Refusal) and reply.reason == BOB.peer_id.hex()


async def test_what_is_held_for_others_is_bounded() -> None:
    """A flood behind a cut costs no more than its bound."""
    async with _plane() as plane:
        plane.begin("cut")
        held = [asyncio.ensure_future(plane.admission(BOB.peer_id, "in")) for _ in range(HELD_MAX)]
        await until(lambda: plane._requests_held == HELD_MAX)
        with pytest.raises(TimeoutError):
            await plane.admission(BOB.peer_id, "in")
        heard: list[int] = []
        for number in range(HELD_MAX + 5):
            plane.tell(BOB.peer_id, lambda number=number: heard.append(number))  # type: ignore[misc]
        plane.clear(None)
        await asyncio.gather(*held)
        await until(lambda: len(heard) == HELD_MAX)
        assert heard == list(range(HELD_MAX))


async def test_closing_drops_what_is_held() -> None:
    """Nothing is told to a peer that has stopped."""
    async with _plane() as plane:
        heard: list[int] = []
        plane.begin("cut")
        plane.tell(BOB.peer_id, lambda: heard.append(1))
        await plane.close()
        plane.clear(None)
        plane.tell(BOB.peer_id, lambda: heard.append(2))

        assert heard == [2] and not plane._tellings
