"""The datagram port on real sockets: what it opens, what it drops, and that nothing stops it."""

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from node.datagrams import DatagramPort, StrangerLimit
from protocol import codec, limits
from protocol.effects import Received
from protocol.envelope import MAGIC_AND_VERSION, Sealer
from protocol.errors import ConfigError, LocalProtocolError
from protocol.identity import Identity
from protocol.ids import ANY_RECEIVER, short_id_of
from protocol.messages import HandoverWish, Ping, Refusal
from protocol.network import NetworkIdentity
from protocol.statements import Address
from tests.loops import on_every_loop
from tests.node.tcp_peers import ALICE, BOB, CAROL, NETWORK, OTHER_NETWORK
from tests.waiting import until

_BOOT = 2**60


class _End:
    """One datagram port and what it received."""

    def __init__(
        self,
        identity: Identity,
        *,
        network: NetworkIdentity = NETWORK,
        on_stock_datagram: Callable[[bytes, tuple[str, int]], None] | None = None,
    ) -> None:
        self.short_id = short_id_of(identity.peer_id)
        self.received: list[Received] = []
        self.port = DatagramPort(
            network=network,
            peer_id=identity.peer_id,
            boot=_BOOT,
            on_message=self.received.append,
            on_stock_datagram=on_stock_datagram,
        )

    @contextlib.asynccontextmanager
    async def open(self, bind: str = "127.0.0.1") -> AsyncIterator[Address]:
        await self.port.open(bind, 0)
        assert self.port._transport is not None
        try:
            yield Address(bind, self.port._transport.get_extra_info("sockname")[1])
        finally:
            self.port.close()


@contextlib.contextmanager
def _raw_socket() -> "contextlib.AbstractContextManager[socket.socket]":  # type: ignore[misc]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
        raw.bind(("127.0.0.1", 0))
        yield raw


@on_every_loop
async def test_a_message_arrives_sealed_and_proved() -> None:
    """What was sent is what arrives, with the sender and its boot; a member's receiver id or none will do."""
    alice, bob = _End(ALICE), _End(BOB)
    async with alice.open() as source, bob.open() as target:
        alice.port.send(Ping(sequence=1), target, bob.short_id)
        alice.port.send(Ping(sequence=2), target, ANY_RECEIVER)
        await until(lambda: len(bob.received) == 2)

    assert bob.received == [
        Received(Ping(sequence=sequence), source, alice.short_id, _BOOT) for sequence in (1, 2)
    ]
    assert alice.port.counts["sent"] == 2


@on_every_loop
async def test_the_largest_message_arrives_and_a_larger_one_is_our_own_fault() -> None:
    """1,232 bytes on the wire, never fragmented."""
    alice, bob = _End(ALICE), _End(BOB)
    room = limits.MESSAGE_SIZE_MAX_BYTES - len(codec.encode(Refusal(reason="x" * 200)))
    largest = HandoverWish(successor=bytes(32))
    async with alice.open(), bob.open() as target:
        with pytest.raises(LocalProtocolError):
            alice.port.send_encoded(bytes(limits.MESSAGE_SIZE_MAX_BYTES + 1), target, bob.short_id)
        alice.port.send(largest, target, bob.short_id)
        await until(lambda: bob.received)

    assert room > 0
    assert bob.received[0].message == largest


@on_every_loop
async def test_strangers_other_networks_and_replays_get_silence() -> None:
    """Nothing is answered, nothing reaches the peer, everything is counted."""
    alice, bob, foreign = _End(ALICE), _End(BOB), _End(CAROL, network=OTHER_NETWORK)
    sealer = Sealer(network=NETWORK, peer_id=ALICE.peer_id, boot=_BOOT)
    good = sealer.seal(codec.encode(Ping(sequence=1)), bob.short_id)
    hostile = [
        good,
        good,
        sealer.seal(codec.encode(Ping(sequence=2)), short_id_of(CAROL.peer_id)),
        sealer.seal(b"no message", bob.short_id),
        sealer.seal(b"", bob.short_id),
        b"",
        b"\x00" * 100,
        bytes([MAGIC_AND_VERSION]),
        bytes([MAGIC_AND_VERSION]) + os.urandom(51),
        bytes([MAGIC_AND_VERSION]) + os.urandom(1231),
        good + b"x",
        good[:-1],
        os.urandom(9000),
    ]
    async with alice.open(), bob.open() as target, foreign.open():
        foreign.port.send(Ping(sequence=3), target, bob.short_id)
        with _raw_socket() as raw:
            for datagram in hostile:
                raw.sendto(datagram, (target.host, target.port))
            await until(lambda: bob.port.counts["received"] == len(hostile) + 1)
            raw.setblocking(False)
            with pytest.raises(BlockingIOError):
                raw.recv(2000)

    assert [received.message for received in bob.received] == [Ping(sequence=1)]
    assert bob.port.counts["sent"] == 0
    assert bob.port.counts["undecodable"] == 2


@on_every_loop
async def test_no_address_that_a_member_names_breaks_the_port() -> None:
    """Descriptors are signed by their authors, who may write anything: names, other families, nonsense."""
    alice, bob = _End(ALICE), _End(BOB)
    names = ["localhost", "a..b", "x" * 255, "127.1", "1", "-"]
    hosts = [*names, "::1", "fe80::1%lo", "255.255.255.255", "0.0.0.0", "224.0.0.1"]
    async with alice.open(), bob.open() as target:
        for host in hosts:
            alice.port.send(Ping(sequence=1), Address(host, 9), bob.short_id)
        alice.port.send(Ping(sequence=2), target, bob.short_id)
        await until(lambda: bob.received)

    assert bob.received[0].message == Ping(sequence=2)
    assert alice.port.counts["unsendable"] >= 8


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # uvloop forgets a socket not bound
@on_every_loop
async def test_a_taken_port_and_a_foreign_address_are_explained() -> None:
    """The error names the cause and the next step."""
    alice, bob = _End(ALICE), _End(BOB)
    async with alice.open() as taken:
        for bind, port in (("127.0.0.1", taken.port), ("192.0.2.1", 0), ("a..b", 0)):
            with pytest.raises(ConfigError) as refused:
                await bob.port.open(bind, port)
            assert "--port" in refused.value.next_step


@on_every_loop
async def test_an_open_network_hands_stock_datagrams_on() -> None:
    """Datagrams of the stock library start with 0x00 or 0x01; other networks drop them."""
    stock: list[tuple[bytes, tuple[str, int]]] = []
    opened, closed = _End(ALICE, on_stock_datagram=lambda data, source: stock.append((data, source))), _End(BOB)
    async with opened.open() as one, closed.open() as other:
        with _raw_socket() as raw:
            for datagram in (b"\x00request", b"\x01reply", b"\x02other"):
                raw.sendto(datagram, (one.host, one.port))
                raw.sendto(datagram, (other.host, other.port))
            await until(lambda: opened.port.counts["received"] == closed.port.counts["received"] == 3)
            source = raw.getsockname()
            opened.port.send_stock(b"\x01answer", source)
            raw.settimeout(5)
            assert raw.recv(100) == b"\x01answer"

    assert stock == [(b"\x00request", source), (b"\x01reply", source)]
    assert closed.port.counts["refused"] == 3


@on_every_loop
async def test_a_flood_of_garbage_changes_nothing() -> None:
    """Random and mutated datagrams at one port, while a member goes on talking to it (issue: bad input)."""
    alice, bob = _End(ALICE), _End(BOB)
    generator = random.Random(11)
    async with alice.open(), bob.open() as target:
        alice.port.send(Ping(sequence=0), target, bob.short_id)
        await until(lambda: bob.received)
        recorded = Sealer(network=NETWORK, peer_id=ALICE.peer_id, boot=_BOOT + 1)
        with _raw_socket() as raw:
            for number in range(1, 101):
                for _ in range(40):
                    raw.sendto(_garbage(recorded, bob, generator), (target.host, target.port))
                alice.port.send(Ping(sequence=number), target, bob.short_id)
                await until(lambda number=number: len(bob.received) == number + 1)  # type: ignore[misc]

    assert [received.message for received in bob.received] == [Ping(sequence=number) for number in range(101)]
    assert len(bob.port._opener._senders) == 1
    assert bob.port.counts["undecodable"] == 0


def _garbage(sealer: Sealer, receiver: _End, generator: random.Random) -> bytes:
    if generator.random() < 0.3:
        return generator.randbytes(generator.randrange(1400))
    datagram = bytearray(sealer.seal(codec.encode(Ping(sequence=1)), receiver.short_id))
    if generator.random() < 0.3:
        return bytes(datagram[: generator.randrange(len(datagram))])
    datagram[generator.randrange(len(datagram))] ^= 1 << generator.randrange(8)
    return bytes(datagram)


def test_unknown_senders_are_tried_at_a_bounded_rate() -> None:
    """Each costs a key derivation; the bucket of one address does not empty another's."""
    strangers = StrangerLimit()

    tried = sum(strangers.allows("192.0.2.1", now=0.0) for _ in range(10_000))
    later = sum(strangers.allows("192.0.2.1", now=1.0) for _ in range(10_000))

    assert (tried, later) == (4000, 2000)
    assert strangers.allows("192.0.2.2", now=0.0)


def test_addresses_that_flood_are_forgotten_in_the_end() -> None:
    """Whoever invents addresses does not fill the memory."""
    strangers = StrangerLimit()
    for number in range(5000):
        strangers.allows(str(number), now=0.0)

    assert len(strangers._buckets) == 1024


@on_every_loop
async def test_a_hello_proves_its_sender_once() -> None:
    """The first bytes of a link are sealed to their receiver and never believed twice."""
    alice, bob, carol = _End(ALICE), _End(BOB), _End(CAROL)
    hello = alice.port.seal_hello(bob.short_id)

    assert carol.port.open_hello(hello) is None
    assert bob.port.open_hello(hello) == alice.short_id
    assert bob.port.open_hello(hello) is None
    assert bob.port.open_hello(b"") is None


async def test_a_closed_port_sends_nothing_and_closes_again() -> None:
    """Parts of a peer that stops may still say something."""
    alice = _End(ALICE)
    async with alice.open() as address:
        alice.port.close()
        alice.port.send(Ping(sequence=1), address, ANY_RECEIVER)
        alice.port.send_stock(b"\x00", ("127.0.0.1", 9))
        alice.port.close()

    assert alice.port.counts["sent"] == 0
    await asyncio.sleep(0)
