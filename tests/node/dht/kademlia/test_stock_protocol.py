"""What hostile, broken and unlucky nodes do to the stock wire: nothing that lasts."""

import asyncio
import os
import random

import msgspec
import pytest
from kademlia.node import Node
from kademlia.protocol import KademliaProtocol
from kademlia.storage import ForgetfulStorage

from node.dht.kademlia.contacts import Contact, place
from node.dht.kademlia.members import KademliaNode
from node.dht.kademlia.protocol import PairProtocol
from node.dht.kademlia.stock_protocol import StockProtocol
from protocol.identity import CachingVerifier
from protocol.ids import Digest
from protocol.records import Record
from tests.node.dht.kademlia.neighbours import (
    FixedMembers,
    Nobody,
    OpenPeer,
    RawNode,
    open_network,
    raw_node,
    record,
    stock_server,
)
from tests.protocol import samples
from tests.waiting import until

NODE_ID = Digest(b"n" * 20)
KEY = Digest(b"k" * 20)
FAR_AWAY = ("203.0.113.7", 5678)


class Wire:
    """A stock protocol without a socket: what it sends is kept."""

    def __init__(self, records: dict[Digest, Record] | None = None) -> None:
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.records = {} if records is None else records
        members = FixedMembers(samples.descriptor(1), [samples.descriptor(number) for number in range(2, 31)])
        node = KademliaNode(
            members=members,
            requester=Nobody(),
            verifier=CachingVerifier(),
            network_id=samples.NETWORK_ID,
            introduce=lambda descriptor: None,
        )
        for peer_id in members.living_ids:
            descriptor = members.find(peer_id)
            assert descriptor is not None
            node.member_up(descriptor)
        self.protocol = StockProtocol(
            node.local,
            node=node,
            read=self.records.get,
            store=self.store,
            send=lambda datagram, address: self.sent.append((datagram, address)),
        )
        self.protocol.round_trips.patience_s = lambda address: 0.01

    async def store(self, digest: Digest, value: bytes) -> bool:
        self.records[digest] = record(value)
        return True

    def receive(self, name: str, *arguments: object, source: tuple[str, int] = FAR_AWAY) -> bytes:
        datagram = b"\x00" + os.urandom(20) + msgspec.msgpack.encode([name, list(arguments)])
        self.protocol.datagram_received(datagram, source)
        return datagram

    @property
    def replies(self) -> list[object]:
        return [msgspec.msgpack.decode(datagram[21:]) for datagram, _ in self.sent if datagram[:1] == b"\x01"]


async def make_contact(peer: OpenPeer, node: RawNode) -> Contact:
    """Let ``peer`` prove the address of ``node`` and take it in."""
    contact = await peer.wire.bootstrap_node(node.address)
    assert contact is not None
    return contact


# Inbound


@pytest.mark.parametrize(
    ("name", "arguments", "answer"),
    [
        ("ping", [b"short"], None),
        ("ping", ["n" * 20], None),
        ("ping", [], None),
        ("store", [NODE_ID, KEY, ["list"]], False),
        ("store", [NODE_ID, KEY, None], False),
        ("store", [NODE_ID, KEY, 5], False),
        ("store", [NODE_ID, b"short", b"value"], False),
        ("store", [NODE_ID, KEY, b"value", 1], False),
        ("find_node", [NODE_ID, b"x" * 21], []),
        ("find_value", [NODE_ID], []),
        ("no_such_call", [1, 2, 3], None),
        ("_timeout", [NODE_ID], None),
    ],
)
async def test_defect_28_refused_calls_are_answered(name: str, arguments: list[object], answer: object) -> None:
    """The library says nothing to an unknown or failing call: the caller waits 5 s and forgets a healthy peer."""
    wire = Wire()
    wire.receive(name, *arguments)

    assert wire.replies == [answer]
    assert wire.records == {}
    await wire.protocol.close()


async def test_defect_28_failing_handler_is_answered() -> None:
    """A defect or a full disk on our side is an answer, too."""
    wire = Wire()

    def fail(digest: Digest) -> Record | None:
        raise OSError("the disk failed")

    wire.protocol._read = fail
    wire.receive("find_value", NODE_ID, KEY)

    assert wire.replies == [[]]
    await wire.protocol.close()


async def test_defect_16_library_stores_what_its_readers_cannot_bear() -> None:
    """The library checks nothing: a stored list makes the reader's ``get`` raise. Ours refuses to keep one."""
    library = KademliaProtocol(Node(NODE_ID), ForgetfulStorage(), 20)
    library.rpc_store(FAR_AWAY, NODE_ID, b"any key", ["list"])
    assert library.storage.get(b"any key") == ["list"]

    wire = Wire()
    wire.receive("store", NODE_ID, KEY, ["list"])
    assert (wire.replies, wire.records) == ([False], {})
    await wire.protocol.close()


async def test_defect_30_stranger_cannot_claim_the_id_of_a_member() -> None:
    """Ids are free on this wire, so whoever claims a member's, or ours, is no contact; the table keeps the member."""
    async with open_network(2) as network:
        first, second = network.peers
        for peer in (first, second):
            async with raw_node(ping=peer.descriptor.peer_id[:20]) as stranger:
                await stranger.ask(first.address, "ping", peer.descriptor.peer_id[:20])
                await until(lambda node=stranger: "ping" in node.calls)
                assert await first.wire.bootstrap_node(stranger.address) is None

        assert first.wire.protocol.contacts == []


async def test_defect_31_small_question_from_an_unproven_address_gets_no_large_answer() -> None:
    """The library answers 78 bytes with 8,031, wherever the source claims to be. Ours pings first."""
    wire = Wire({KEY: record(bytes(8000))})

    source = ("127.0.0.9", 5678)

    questions = [wire.receive(name, NODE_ID, KEY, source=source) for name in ("find_value", "find_node")]
    await until(lambda: not wire.protocol._tasks)

    assert wire.replies == []
    assert {address for _, address in wire.sent} == {source}
    assert sum(len(datagram) for datagram, _ in wire.sent) < 3 * sum(map(len, questions))
    await wire.protocol.close()


async def test_defect_31_proven_address_gets_its_answer() -> None:
    """One round trip later: the address answered a ping that only its owner could see."""
    async with open_network(1) as network, raw_node(ping=NODE_ID) as node:
        network.put(KEY, bytes(8000))

        assert await node.ask(network.peers[0].address, "find_value", NODE_ID, KEY) == {"value": "\0" * 8000}
        assert node.calls == ["ping"]
        await node.ask(network.peers[0].address, "find_value", NODE_ID, KEY)
        assert node.calls == ["ping"]


async def test_flood_from_one_source_is_throttled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source has a rate; what is beyond it is dropped and counted. Others are served."""
    wire = Wire()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "time", lambda: 1000.0)
        for _ in range(5000):
            wire.receive("stun")
        wire.receive("stun", source=("203.0.113.8", 1))

    assert wire.protocol.counts["throttled"] == 1000
    assert len(wire.sent) == 4001
    await wire.protocol.close()


async def test_random_and_mutated_datagrams_change_nothing() -> None:
    """No exception, no contact, no record, no task left."""
    wire = Wire()
    draw = random.Random(7)
    valid = b"\x00" + bytes(20) + msgspec.msgpack.encode(["store", [NODE_ID, KEY, b"value"]])
    for number in range(3000):
        if number % 2:
            datagram = draw.randbytes(draw.randrange(1, 90))
            datagram = bytes([number // 2 % 2]) + datagram
        else:
            at = draw.randrange(21, len(valid))
            datagram = valid[:at] + draw.randbytes(1) + valid[at + 1 :] * draw.randrange(2)
        wire.protocol.datagram_received(datagram, (f"203.0.113.{number % 200}", 1 + number))

    await until(lambda: not wire.protocol._tasks)
    assert wire.protocol.contacts == []
    assert wire.protocol.counts["malformed"] > 1000
    await wire.protocol.close()


async def test_inbound_stores_are_bounded() -> None:
    """Beyond the stores at work a caller is refused at once, not queued."""
    wire = Wire()
    release = asyncio.Event()

    async def wait(digest: Digest, value: bytes) -> bool:
        await release.wait()
        return True

    wire.protocol._store = wait
    for number in range(70):
        wire.receive("store", NODE_ID, KEY, b"value", source=(f"203.0.113.{number}", 5))
    assert wire.replies == [False] * 6

    release.set()
    await until(lambda: not wire.protocol._tasks)
    assert wire.replies.count(True) == 64
    await wire.protocol.close()


# Outbound


@pytest.mark.parametrize("lost", [1, 2])
async def test_defect_19_lost_datagrams_cost_no_contact(lost: int) -> None:
    """The library tries once and forgets the peer; ours tries three times."""
    async with open_network(1) as network, raw_node(ping=NODE_ID, store=True) as node:
        (peer,) = network.peers
        contact = await make_contact(peer, node)
        peer.wire.protocol.round_trips.patience_s = lambda address: 0.1
        peer.losses.extend([True] * lost)

        assert await peer.wire.protocol.call_store(contact, KEY, b"value") == (True, True)
        assert peer.wire.protocol.contacts == [contact]


async def test_defect_19_contact_is_forgotten_after_three_failed_calls() -> None:
    """Not after one: it is only asked last for a while."""
    async with open_network(1) as network, raw_node(ping=NODE_ID) as node:
        (peer,) = network.peers
        contact = await make_contact(peer, node)
        protocol = peer.wire.protocol
        protocol.round_trips.patience_s = lambda address: 0.005
        node.answers.clear()

        for known in (1, 1, 0):
            assert await protocol.call_ping(contact) == (False, None)
            assert len(protocol.contacts) == known
            assert protocol.nearest(KEY, 20) == [], "avoided from its first failure on"


async def test_defect_27_cancelled_call_leaves_nothing_behind() -> None:
    """The library leaks the pending call and raises ``InvalidStateError`` in the loop when its time is over."""
    loop_errors: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loop_errors.append(context["message"]))
    async with open_network(1) as network, raw_node() as silent, stock_server(wait_timeout_s=0.5) as stock:
        (peer,) = network.peers
        for protocol in (stock.protocol, peer.wire.protocol):
            call = asyncio.ensure_future(protocol.ping(silent.address, NODE_ID))
            await asyncio.sleep(0)
            assert len(protocol._outstanding) == 1
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        assert peer.wire.protocol._outstanding == {}
        assert len(stock.protocol._outstanding) == 1

        await until(lambda: loop_errors)
        assert all("_timeout" in error for error in loop_errors)
        assert len(loop_errors) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param([[b"short id", "127.0.0.1", 1]], id="short id"),
        pytest.param([["n" * 20, "127.0.0.1", 1]], id="id of text"),
        pytest.param([[b"n" * 20, None, None]], id="no address"),
        pytest.param([[b"n" * 20, "127.0.0.1", 70000]], id="no port"),
        pytest.param([5], id="no contact"),
        pytest.param("nonsense", id="text"),
        pytest.param({"other": 1}, id="no value"),
        pytest.param(None, id="nil"),
    ],
)
async def test_defect_29_malformed_answers_raise_nowhere(answer: object) -> None:
    """One malformed id in an answer makes the library's ``get`` and ``set`` raise."""
    async with open_network(1) as network, raw_node(ping=b"r" * 20, find_node=answer, find_value=answer) as node:
        (peer,) = network.peers
        await make_contact(peer, node)

        assert await peer.wire.find_value(KEY) is None
        assert await peer.wire.set_digest(KEY, b"value") == 0


async def test_defect_29_library_raises_at_a_malformed_answer() -> None:
    """The same answers, read by the library."""
    answer = [[b"n" * 20, "127.0.0.1", 1, "extra"]]
    async with raw_node(ping=b"r" * 20, find_node=answer, find_value=answer) as node, stock_server() as stock:
        await stock.protocol.call_ping(Node(b"r" * 20, *node.address))

        with pytest.raises(TypeError):
            await stock.get("key")


async def test_answer_from_another_address_is_not_believed() -> None:
    """Replies count only from who was asked; the library takes them from anybody who knows the number."""
    async with open_network(1) as network, raw_node() as asked, raw_node() as other:
        (peer,) = network.peers
        call = asyncio.create_task(peer.wire.protocol.ping(asked.address, NODE_ID))
        await until(lambda: asked.received)
        message_id = asked.received[0][1:21]

        other.send(b"\x01" + message_id + msgspec.msgpack.encode(b"f" * 20), peer.address)
        await until(lambda: any(each[:1] == b"\x01" for each in peer.received))
        assert not call.done()
        asked.send(b"\x01" + message_id + msgspec.msgpack.encode(NODE_ID), peer.address)

        assert await call == (True, NODE_ID)


async def test_value_that_has_no_bytes_is_as_good_as_none() -> None:
    """Stock nodes may hold numbers; a peer does not invent bytes for them."""
    async with open_network(1) as network, stock_server(network.peers[0].address) as stock:
        (peer,) = network.peers
        await until(lambda: peer.wire.protocol.contacts)
        stock.storage[KEY] = 5

        assert await peer.wire.find_value(KEY) is None
        assert len(peer.wire.protocol.contacts) == 1


async def test_table_of_contacts_is_bounded() -> None:
    """One address is one contact, whatever ids it claims (defect 32 on this wire)."""
    async with open_network(1) as network, raw_node(ping=NODE_ID) as node:
        (peer,) = network.peers
        await make_contact(peer, node)
        for number in range(20):
            claimed = bytes([number]) * 20
            await node.ask(peer.address, "ping", claimed)

        assert [each.id for each in peer.wire.protocol.contacts] == [claimed]


async def test_defect_39_typing_error_is_an_error() -> None:
    """The library makes a remote call of any attribute."""
    library = KademliaProtocol(Node(NODE_ID), ForgetfulStorage(), 20)
    ours = PairProtocol(place(NODE_ID), capacity=1)

    assert hasattr(library, "fnid_node")
    assert not hasattr(ours, "fnid_node")
    with pytest.raises(AttributeError):
        ours.fnid_node(("127.0.0.1", 1))


async def test_defect_s3_smaller_defects_do_not_come_back() -> None:
    """A refused store is no success, and a set that finds nobody does not raise."""
    async with open_network(1) as network, raw_node(ping=NODE_ID, find_node=[], store=False) as node:
        (peer,) = network.peers
        assert await peer.wire.set_digest(KEY, b"value") == 0
        await make_contact(peer, node)

        assert await peer.wire.set_digest(KEY, b"value") == 0
        assert "store" in node.calls
    async with stock_server() as stock, raw_node(ping=NODE_ID, find_node=[], store=False) as node:
        await stock.protocol.call_ping(Node(NODE_ID, *node.address))
        assert await stock.set("key", "value") is True, "the library takes any tuple for a success"
