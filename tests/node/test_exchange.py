"""Requests between peers: numbers, retries, deadlines, bounds; and both ways of travel on real sockets."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from node.datagrams import DatagramPort
from node.exchange import Answer, Exchange
from node.peer_client import PeerClient
from node.ports import PeerUnreachable
from node.round_trips import RoundTrip
from protocol import codec, limits
from protocol.dht_messages import Fetch, Fetched, Store
from protocol.effects import Received
from protocol.errors import RemoteProtocolError
from protocol.identity import Identity
from protocol.ids import PeerId, ShortId, short_id_of
from protocol.messages import Accepted, HandoverWish, Message, Refusal, Reply, ReplyTooLarge, Request
from protocol.records import Record
from protocol.statements import Address, Descriptor
from tests.loops import on_every_loop
from tests.node.tcp_peers import ALICE, BOB, CAROL, NETWORK, descriptor_of, open_client, open_port
from tests.protocol.test_codec import EXAMPLES
from tests.waiting import until

_WISH = HandoverWish(successor=CAROL.peer_id)
_NUMBERS = {"request_id": 2**62, "receiver_boot": 1}


def _name_of(message: Message) -> str:
    return type(message).__name__


def _record(size: int) -> Record:
    return Record(author_key=ALICE.public_key, key="k", value=b"x" * size, stamp=1)


def _store(size: int) -> Store:
    return Store(records=(_record(size),))


class _Members:
    """Implements ``node.ports.Members``."""

    def __init__(self, *members: Descriptor, local: PeerId = ALICE.peer_id) -> None:
        self.local = local
        self.table = {member.peer_id: member for member in members}

    @property
    def living_ids(self) -> tuple[PeerId, ...]:
        return tuple(sorted(self.table))

    def is_living(self, peer_id: PeerId) -> bool:
        return peer_id in self.table

    def find(self, peer_id: PeerId) -> Descriptor | None:
        return self.table.get(peer_id)

    def is_suspect(self, peer_id: PeerId) -> bool:
        return False


@dataclass
class _Wire:
    """Stands for the datagram port: keeps what was sent."""

    sent: list[tuple[Message, Address, ShortId]] = field(default_factory=list)

    def send_encoded(self, data: bytes, address: Address, receiver: ShortId) -> None:
        self.sent.append((codec.decode(data), address, receiver))

    def requests(self) -> list[Request]:
        return [message for message, _, _ in self.sent if isinstance(message, Request)]


@dataclass
class _Tcp:
    """Stands for the client of the TCP port: keeps what was asked and answers from ``answer``."""

    asked: list[tuple[Descriptor, Request]] = field(default_factory=list)
    answer: Reply | Exception | None = None
    """None: never answers."""

    async def request(self, peer: Descriptor, data: Request, timeout_s: float) -> Reply:
        self.asked.append((peer, data))
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        assert self.answer is not None
        return self.answer


@dataclass
class _World:
    exchange: Exchange
    wire: _Wire
    tcp: _Tcp
    members: _Members

    def answer(self, request: Request, reply: Reply, *, sender: Identity = BOB) -> None:
        numbered = msgspec.structs.replace(reply, request_id=request.request_id)
        self.exchange.reply_received(short_id_of(sender.peer_id), numbered)


async def _refuse(sender: PeerId, request: Request) -> Reply:
    return Refusal(reason="no")


@contextlib.asynccontextmanager
async def _world(handle: Callable[[PeerId, Request], Answer] = _refuse) -> AsyncIterator[_World]:
    wire, tcp = _Wire(), _Tcp()
    members = _Members(descriptor_of(BOB, 7402, boot=2**60), descriptor_of(CAROL, 7403, boot=2**60 + 5))
    exchange = Exchange(
        members=members,
        datagrams=cast(DatagramPort, wire),
        client=cast(PeerClient, tcp),
        handle=handle,
        random=random.Random(7),
    )
    try:
        yield _World(exchange, wire, tcp, members)
    finally:
        await exchange.stop()


def _ask(world: _World, request: Request = _WISH, *, who: Identity = BOB) -> asyncio.Future[Reply]:
    return asyncio.ensure_future(world.exchange.request(who.peer_id, request, timeout_s=10.0))


def _latest_wait_s(world: _World) -> float:
    return list(world.exchange._pending.values())[-1].wait_s


async def test_a_request_is_numbered_addressed_and_answered() -> None:
    """Number and boot are filled in; the reply with that number is the answer."""
    async with _world() as world:
        asking = _ask(world)
        await until(lambda: world.wire.sent)
        ((request, address, receiver),) = world.wire.sent
        assert isinstance(request, HandoverWish)
        world.answer(request, Accepted())
        reply = await asking

    assert isinstance(reply, Accepted)
    assert request.request_id > 0
    assert request.receiver_boot == 2**60
    assert (address, receiver) == (Address("127.0.0.1", 7402), short_id_of(BOB.peer_id))


async def test_only_the_asked_peer_is_believed() -> None:
    """A reply of another member, or with another number, is nobody's answer."""
    async with _world() as world:
        asking = _ask(world)
        await until(lambda: world.wire.sent)
        (request,) = world.wire.requests()
        world.answer(request, Accepted(), sender=CAROL)
        world.exchange.reply_received(short_id_of(BOB.peer_id), Accepted(request_id=request.request_id ^ 1))
        assert not asking.done()
        world.answer(request, Refusal(reason="first"))
        world.answer(request, Refusal(reason="second"))

        assert (await asking) == Refusal(reason="first", request_id=request.request_id)


async def test_a_lost_datagram_is_sent_again_and_gives_no_sample() -> None:
    """The same request again; which of two sends was answered is unknown (Karn's rule)."""
    async with _world() as world:
        guess_s = world.exchange.usual_round_trip_s(BOB.peer_id)
        asking = _ask(world)
        await until(lambda: len(world.wire.sent) == 2)
        first, second = world.wire.requests()
        world.answer(second, Accepted())
        await asking

    assert first == second
    assert world.exchange.usual_round_trip_s(BOB.peer_id) == guess_s
    assert world.exchange.counts["retries"] == 1


async def test_an_unanswered_try_doubles_the_wait_of_later_requests_until_a_first_try_is_answered() -> None:
    """RFC 6298, section 5: no round trip is learned from repeated tries, so the wait itself must remember."""
    async with _world() as world:
        first, beside = _ask(world), _ask(world)
        await until(lambda: len(world.wire.sent) == 4)
        for request in world.wire.requests()[2:]:
            world.answer(request, Accepted())
        await asyncio.gather(first, beside)
        asked = [_ask(world)]
        after_s = _latest_wait_s(world)
        asked.append(_ask(world, who=CAROL))
        others_s = _latest_wait_s(world)
        world.answer(world.wire.requests()[4], Accepted())
        await asked[0]
        asked.append(_ask(world))
        in_the_end_s = _latest_wait_s(world)
        for future in asked[1:]:
            future.cancel()

    assert (after_s, others_s, in_the_end_s) == (0.2, 0.1, 0.1)


async def test_a_busy_loop_reads_before_it_sends_again() -> None:
    """After a stall the reply may lie in the socket unread, and one more request would only add to the work."""
    async with _world() as world:
        asking = _ask(world)
        await until(lambda: world.wire.sent)
        time.sleep(0.2)  # noqa: ASYNC251  (the loop stands still: that is the test)
        await asyncio.sleep(0.001)
        assert len(world.wire.sent) == 1
        await until(lambda: len(world.wire.sent) == 2)
        world.answer(world.wire.requests()[0], Accepted())
        await asking


async def test_the_remembered_wait_is_bounded() -> None:
    """A peer that was silent for long is asked again soon after it came back."""
    trip = RoundTrip()
    for _ in range(20):
        trip.back_off(trip.wait_s)

    assert trip.wait_s == 1.5


async def test_what_needs_no_waiting_is_answered_at_once() -> None:
    """A read costs no task."""
    async with _world(lambda sender, request: Accepted()) as world:
        world.exchange.request_received(world.members.table[BOB.peer_id], HandoverWish(request_id=5))

        ((message, _, _),) = world.wire.sent
        assert message == Accepted(request_id=5, receiver_boot=2**60)


async def test_a_request_given_up_makes_room_for_one_that_waits() -> None:
    """Whoever cancels, or is cancelled while it waits, costs nobody else a place."""
    async with _world() as world:
        asked = [_ask(world) for _ in range(limits.REQUESTS_IN_FLIGHT_MAX)]
        gone, waiting = _ask(world, who=CAROL), _ask(world, who=CAROL)
        await asyncio.sleep(0)
        gone.cancel()
        asked[0].cancel()
        carol = short_id_of(CAROL.peer_id)
        await until(lambda: any(receiver == carol for _, _, receiver in world.wire.sent))
        for future in (*asked, waiting):
            future.cancel()
        await asyncio.gather(*asked, gone, waiting, return_exceptions=True)


async def test_round_trips_are_learned_from_first_answers() -> None:
    """RFC 6298: smoothed round trip plus four deviations."""
    async with _world() as world:
        for _ in range(20):
            asking = _ask(world)
            await until(lambda: world.wire.sent)
            world.answer(world.wire.requests()[0], Accepted())
            world.wire.sent.clear()
            await asking

    assert 0 < world.exchange.usual_round_trip_s(BOB.peer_id) < 1.0
    assert world.exchange.usual_round_trip_s(BOB.peer_id) != world.exchange.usual_round_trip_s(CAROL.peer_id)


async def test_a_request_without_an_answer_ends_in_time() -> None:
    """No answer is an expected outcome, with a deadline."""
    async with _world() as world:
        with pytest.raises(PeerUnreachable, match="in time"):
            await world.exchange.request(BOB.peer_id, _WISH, timeout_s=0.05)
        with pytest.raises(PeerUnreachable, match="member"):
            await world.exchange.request(ALICE.peer_id, _WISH, timeout_s=5)

    assert world.exchange.counts["timeouts"] == 1


async def test_what_was_asked_of_a_dead_member_fails_at_once() -> None:
    """Never wait for a time-out when the membership knows better; others go on."""
    async with _world() as world:
        world.tcp.answer = None
        asked = [_ask(world), _ask(world, _store(2000)), _ask(world, who=CAROL)]
        await until(lambda: len(world.wire.sent) == 2 and world.tcp.asked)
        world.exchange.member_down(BOB.peer_id)
        results = await asyncio.gather(*asked[:2], return_exceptions=True)

        assert [type(result) for result in results] == [PeerUnreachable, PeerUnreachable]
        assert not asked[2].done()
        asked[2].cancel()


@pytest.mark.parametrize("answer", [Accepted(), PeerUnreachable("gone"), RemoteProtocolError("nonsense")])
async def test_what_fits_no_datagram_goes_over_tcp(answer: Reply | Exception) -> None:
    """A large request at once; nonsense from the other end is as good as no answer."""
    async with _world() as world:
        world.tcp.answer = answer
        asking = _ask(world, _store(2000))
        if isinstance(answer, Reply):
            assert await asking is answer
        else:
            with pytest.raises(PeerUnreachable):
                await asking

    ((peer, request),) = world.tcp.asked
    assert peer.peer_id == BOB.peer_id
    assert request.receiver_boot == peer.boot
    assert world.wire.sent == []


async def test_a_reply_that_fits_no_datagram_is_fetched_over_tcp() -> None:
    """``ReplyTooLarge``: the same request again, over TCP."""
    async with _world() as world:
        world.tcp.answer = Accepted()
        asking = _ask(world)
        await until(lambda: world.wire.sent)
        world.answer(world.wire.requests()[0], ReplyTooLarge())

        assert await asking is world.tcp.answer
        assert world.tcp.asked[0][1] == world.wire.requests()[0]


async def test_a_retry_follows_a_restarted_peer() -> None:
    """The new boot would ignore a request for the old one; the new address counts as well."""
    async with _world() as world:
        asking = _ask(world)
        await until(lambda: world.wire.sent)
        world.members.table[BOB.peer_id] = descriptor_of(BOB, 7502, boot=2**60 + 9)
        await until(lambda: len(world.wire.sent) == 2)
        (before, _, _), (after, address, _) = world.wire.sent
        assert isinstance(after, HandoverWish)
        world.answer(after, Accepted())
        await asking

    assert after == msgspec.structs.replace(before, receiver_boot=2**60 + 9)
    assert address.port == 7502


async def test_a_retry_that_fits_no_more_fails() -> None:
    """A hostile member may name any boot; a longer number must not break the timer."""
    size = limits.MESSAGE_SIZE_MAX_BYTES - len(codec.encode(msgspec.structs.replace(_store(256), **_NUMBERS))) + 256
    request = _store(size)
    async with _world() as world:
        world.members.table[BOB.peer_id] = descriptor_of(BOB, 7402, boot=1)
        asking = _ask(world, request)
        await until(lambda: world.wire.sent)
        world.members.table[BOB.peer_id] = descriptor_of(BOB, 7402, boot=2**63)

        with pytest.raises(PeerUnreachable, match="restarted"):
            await asking


async def test_a_repeated_request_is_served_once_at_a_time() -> None:
    """A retry while its first copy is at work changes nothing; later it is served again, handlers being idempotent."""
    gate = asyncio.Event()
    served: list[Request] = []

    async def handle(sender: PeerId, request: Request) -> Reply:
        served.append(request)
        await gate.wait()
        return Accepted()

    async with _world(handle) as world:
        request = HandoverWish(request_id=5)
        sender = world.members.table[BOB.peer_id]
        for _ in range(3):
            world.exchange.request_received(sender, request)
        await until(lambda: served)
        gate.set()
        await until(lambda: world.wire.sent)
        world.exchange.request_received(sender, request)
        await until(lambda: len(world.wire.sent) == 2)

    assert len(served) == 2
    message, address, receiver = world.wire.sent[0]
    assert message == Accepted(request_id=5, receiver_boot=sender.boot)
    assert (address, receiver) == (sender.address, short_id_of(BOB.peer_id))


async def test_a_failing_handler_refuses_and_a_long_answer_asks_for_tcp(caplog: pytest.LogCaptureFixture) -> None:
    """A defect must not look like a dead peer."""

    async def handle(sender: PeerId, request: Request) -> Reply:
        if request.request_id == 1:
            raise RuntimeError("a defect")
        return Fetched(record=_record(2000))

    async with _world(handle) as world:
        sender = world.members.table[BOB.peer_id]
        world.exchange.request_received(sender, HandoverWish(request_id=1))
        world.exchange.request_received(sender, HandoverWish(request_id=2))
        await until(lambda: len(world.wire.sent) == 2)

    assert [message for message, _, _ in world.wire.sent] == [
        Refusal(request_id=1, receiver_boot=sender.boot, reason="internal failure"),
        ReplyTooLarge(request_id=2, receiver_boot=sender.boot),
    ]
    assert "a defect" in caplog.text


async def test_what_is_served_at_once_is_bounded() -> None:
    """Beyond the bound a request is dropped and counted; its sender tries again."""
    gate = asyncio.Event()

    async def handle(sender: PeerId, request: Request) -> Reply:
        await gate.wait()
        return Accepted()

    async with _world(handle) as world:
        for number in range(limits.INBOUND_QUEUE_MAX + 3):
            world.exchange.request_received(world.members.table[BOB.peer_id], HandoverWish(request_id=number))

        assert world.exchange.counts["dropped"] == 3
        assert world.exchange.counts["served"] == limits.INBOUND_QUEUE_MAX


async def test_what_is_asked_at_once_is_bounded() -> None:
    """A further request waits for a place, no longer than its own deadline."""
    async with _world() as world:
        asked = [_ask(world) for _ in range(limits.REQUESTS_IN_FLIGHT_MAX)]
        await until(lambda: len(world.wire.sent) == limits.REQUESTS_IN_FLIGHT_MAX)
        with pytest.raises(PeerUnreachable, match="too many"):
            await world.exchange.request(CAROL.peer_id, _WISH, timeout_s=0.02)
        waiting = _ask(world, who=CAROL)
        world.answer(world.wire.requests()[0], Accepted())
        await until(lambda: any(receiver == short_id_of(CAROL.peer_id) for _, _, receiver in world.wire.sent))
        for task in (*asked, waiting):
            task.cancel()
        await asyncio.gather(*asked, waiting, return_exceptions=True)


async def test_a_stop_ends_what_is_asked_and_what_is_served() -> None:
    """Nothing is left waiting, and nothing begins any more."""
    cancelled: list[PeerId] = []

    async def handle(sender: PeerId, request: Request) -> Reply:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(sender)
            raise
        return Accepted()

    async with _world(handle) as world:
        asked = [_ask(world), _ask(world, _store(2000))]
        world.exchange.request_received(world.members.table[BOB.peer_id], HandoverWish(request_id=1))
        await until(lambda: world.wire.sent and world.tcp.asked)
        await asyncio.sleep(0)
        await world.exchange.stop()
        await world.exchange.stop()
        results = await asyncio.gather(*asked, return_exceptions=True)
        with pytest.raises(PeerUnreachable, match="stops"):
            await world.exchange.request(BOB.peer_id, _WISH, timeout_s=5)
        world.exchange.request_received(world.members.table[BOB.peer_id], HandoverWish(request_id=2))

    assert [type(result) for result in results] == [PeerUnreachable, PeerUnreachable]
    assert cancelled == [BOB.peer_id]
    assert world.exchange.counts["served"] == 1


# On real sockets


class _Node:
    """A peer of datagrams, TCP port and exchange; ``serve`` answers what it is asked."""

    def __init__(
        self, identity: Identity, serve: Callable[[PeerId, Request], Coroutine[Any, Any, Reply]] = _refuse
    ) -> None:
        self.identity = identity
        self.serve = serve
        self.members = _Members(local=identity.peer_id)
        self.datagrams = DatagramPort(
            network=NETWORK, peer_id=identity.peer_id, boot=2**60, on_message=self._received
        )

    @contextlib.asynccontextmanager
    async def running(self, folder: Path) -> AsyncIterator[None]:
        async with (
            open_port(self.identity, folder, handle=self.serve) as port,
            open_client(self.identity, folder) as client,
        ):
            await self.datagrams.open("127.0.0.1", port.port)
            self.descriptor = descriptor_of(self.identity, port.port, boot=2**60)
            self.exchange = Exchange(
                members=self.members,
                datagrams=self.datagrams,
                client=client,
                handle=self.serve,
                random=random.Random(self.identity.seed[0]),
            )
            try:
                yield
            finally:
                await self.exchange.stop()
                self.datagrams.close()

    def _received(self, received: Received) -> None:
        if isinstance(received.message, Reply):
            self.exchange.reply_received(received.sender, received.message)
            return
        assert isinstance(received.message, Request)
        for member in self.members.table.values():
            if short_id_of(member.peer_id) == received.sender:
                self.exchange.request_received(member, received.message)


async def _measure(sender: PeerId, request: Request) -> Reply:
    """Answers a store with the size and the sender, a fetch with a record of the largest value."""
    if isinstance(request, Store):
        return Refusal(reason=f"{len(request.records[0].value)} {sender.hex()}")
    return Fetched(record=_record(limits.VALUE_SIZE_MAX_BYTES))


@on_every_loop
async def test_small_and_large_messages_travel_between_two_peers(tmp_path: Path) -> None:
    """Datagrams for what fits one, TCP for values up to 1 MiB, in either direction; the sender is proved."""
    alice, bob = _Node(ALICE, _measure), _Node(BOB, _measure)
    async with asyncio.timeout(30), alice.running(tmp_path), bob.running(tmp_path):
        for node, other in ((alice, bob), (bob, alice)):
            node.members.table[other.identity.peer_id] = other.descriptor
        for size in (10, limits.VALUE_SIZE_MAX_BYTES):
            reply = await alice.exchange.request(BOB.peer_id, _store(size), timeout_s=10)
            assert isinstance(reply, Refusal)
            assert reply.reason == f"{size} {ALICE.peer_id.hex()}"
        fetched = await bob.exchange.request(ALICE.peer_id, Fetch(place=bytes(20)), timeout_s=10)

    assert isinstance(fetched, Fetched)
    assert fetched.record == _record(limits.VALUE_SIZE_MAX_BYTES)
    assert alice.exchange.counts["tcp"] == bob.exchange.counts["tcp"] == 1
    assert bob.exchange.counts["served"] == 1


# Amplification


async def test_large_reply_waits_until_the_members_address_is_proved() -> None:
    """A member may name anybody's address as its own: what is sent there unasked stays small (threats, reflection)."""
    whole = Fetched(record=_record(900))

    async with _world(lambda sender, request: whole) as world:
        bob = world.members.table[BOB.peer_id]
        for number in range(10):
            world.exchange.request_received(bob, Fetch(place=bytes(20), request_id=number))
        await until(lambda: world.wire.requests())
        assert [type(message) for message, _, _ in world.wire.sent] == [Fetch], "a small question, to that address"
        world.answer(world.wire.requests()[0], Fetched())
        await until(lambda: len(world.wire.sent) > 1)
        held = [message.request_id for message, _, _ in world.wire.sent[1:] if isinstance(message, Fetched)]
        assert held == [0, 1, 2, 3], "some wait, the others are asked for again"

        world.exchange.request_received(bob, Fetch(place=bytes(20), request_id=99))
        assert cast(Fetched, world.wire.sent[-1][0]).request_id == 99


async def test_address_that_answers_nothing_is_sent_nothing_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waited is dropped; small replies go at once."""
    monkeypatch.setattr("node.exchange._PROOF_TIMEOUT_S", 0.05)
    replies: list[Reply] = [Fetched(record=_record(900)), Fetched()]

    async with _world(lambda sender, request: replies.pop(0)) as world:
        bob = world.members.table[BOB.peer_id]
        world.exchange.request_received(bob, Fetch(place=bytes(20), request_id=1))
        world.exchange.request_received(bob, Fetch(place=bytes(20), request_id=2))
        await until(lambda: not world.exchange._proving)

        assert [m.request_id for m, _, _ in world.wire.sent if isinstance(m, Reply)] == [2]


async def test_answer_to_an_own_request_proves_an_address() -> None:
    """Nothing more is asked of peers that talk with each other anyway."""
    async with _world(lambda sender, request: Fetched(record=_record(900))) as world:
        asking = asyncio.ensure_future(world.exchange.request(BOB.peer_id, _WISH, timeout_s=5))
        world.answer(world.wire.requests()[0], Accepted())
        await asking
        world.exchange.request_received(world.members.table[BOB.peer_id], Fetch(place=bytes(20), request_id=1))

        assert isinstance(world.wire.sent[-1][0], Fetched)
        assert len(world.wire.requests()) == 1


@pytest.mark.parametrize("request_kind", [each for each in EXAMPLES if isinstance(each, Request)], ids=_name_of)
async def test_no_request_is_answered_with_more_than_three_times_its_size(request_kind: Request) -> None:
    """Of whatever type, while the member's address is not proved (RFC 9000, section 8)."""
    largest = Refusal(reason="x" * 200), Fetched(record=_record(900)), Fetched(record=_record(5000))
    asked = codec.encoded_size(request_kind) + limits.ENVELOPE_OVERHEAD_BYTES
    for reply in largest:
        async with _world(lambda sender, request, reply=reply: reply) as world:  # type: ignore[misc]
            world.exchange.request_received(world.members.table[BOB.peer_id], request_kind)
            await asyncio.sleep(0)
            sent = sum(codec.encoded_size(m) + limits.ENVELOPE_OVERHEAD_BYTES for m, _, _ in world.wire.sent)

        assert sent <= 3 * asked
