"""Stock nodes of the unmodified library and our peers, on loopback sockets."""

import asyncio
import logging

import pytest
from kademlia.network import Server
from kademlia.utils import digest

from node.dht.kademlia.framing import VALUE_SIZE_MAX_BYTES
from protocol.errors import LocalProtocolError
from protocol.ids import Digest
from tests.node.dht.kademlia.neighbours import (
    LOOPBACK,
    OpenPeer,
    address_of,
    open_network,
    raw_node,
    stock_server,
)
from tests.waiting import until


def place_of(key: str) -> Digest:
    return Digest(digest(key))


async def met(peer: OpenPeer, *servers: Server) -> None:
    """Wait until ``peer`` has proved the addresses of ``servers``."""
    await until(lambda: all(peer.wire.protocol.router.find(server.node.id) for server in servers))


async def test_stock_node_sets_what_peers_read() -> None:
    """A stock node bootstraps to one peer; what it sets is written through the DHT."""
    async with open_network(3) as network, stock_server(network.peers[0].address) as stock:
        assert await stock.set("text", "grüße")
        assert await stock.set("bytes", b"\xff\x00")

        assert network.records[place_of("text")].value == "grüße".encode()
        assert network.records[place_of("bytes")].value == b"\xff\x00"


@pytest.mark.parametrize(
    ("kept", "read"),
    [
        pytest.param(b"hello", "hello", id="text"),
        pytest.param(b"\xff\x00", b"\xff\x00", id="bytes"),
        pytest.param(b"", "", id="empty"),
        pytest.param(b"x" * VALUE_SIZE_MAX_BYTES, "x" * VALUE_SIZE_MAX_BYTES, id="largest"),
        pytest.param(b"x" * (VALUE_SIZE_MAX_BYTES + 1), None, id="too large"),
    ],
)
async def test_stock_node_gets_what_peers_wrote(kept: bytes, read: str | bytes | None) -> None:
    """Text where the bytes are UTF-8, bytes otherwise; what fits no answer of that wire is absent there."""
    async with open_network(3) as network, stock_server(network.peers[0].address) as stock:
        network.put(place_of("key"), kept)

        assert await stock.get("key") == read


async def test_stock_node_learns_all_members_from_one() -> None:
    """Members are offered to stock nodes as nodes: the first 20 bytes of their ids, at their UDP address."""
    async with open_network(5) as network, stock_server(network.peers[0].address) as stock:
        known = {node.id for bucket in stock.protocol.router.buckets for node in bucket.get_nodes()}

        assert known == {peer.descriptor.peer_id[:20] for peer in network.peers}


async def test_value_that_only_stock_nodes_hold_is_found_from_any_peer() -> None:
    """A read that no member can answer asks the stock contacts, and those whom they name."""
    async with open_network(1) as network, stock_server(network.peers[0].address) as first:
        (peer,) = network.peers
        async with stock_server(address_of(first)) as second:
            second.storage[place_of("far")] = "away"
            await met(peer, first)

            assert await peer.wire.find_value(place_of("far")) == b"away"
            assert await peer.wire.get("far") == b"away"
            assert await peer.wire.find_value(place_of("nowhere")) is None


async def test_value_is_offered_to_stock_nodes() -> None:
    """Text travels as text; a value too large for the wire is offered to nobody."""
    async with open_network(1) as network, stock_server(network.peers[0].address) as stock:
        (peer,) = network.peers
        await met(peer, stock)

        assert await peer.wire.set("offered", "größer".encode()) == 1
        assert stock.storage.get(place_of("offered")) == "größer"
        assert await peer.wire.set_digest(place_of("huge"), bytes(VALUE_SIZE_MAX_BYTES + 1)) == 0


async def test_value_published_again_makes_no_new_version() -> None:
    """Stock nodes publish what they hold every hour, to everybody: that is no write."""
    async with open_network(1) as network, stock_server(network.peers[0].address) as stock:
        await stock.set("key", "same")
        await stock.set("key", "same")
        assert len(network.stores) == 1

        await stock.set("key", "other")
        assert [value for _, value in network.stores] == [b"same", b"other"]


async def test_write_that_fails_is_answered() -> None:
    """The DHT may fail or refuse; the stock node hears False at once instead of waiting for five seconds."""
    async with open_network(1) as network, raw_node() as stranger:
        network.failure = OSError("the disk is full")

        answer = await stranger.ask(network.peers[0].address, "store", b"s" * 20, b"k" * 20, "value")

        assert answer is False


async def test_defect_12_upkeep_survives_a_bad_round() -> None:
    """The library's refresh ends for ever at its first exception, and forgets the interval that it was given."""
    async with open_network(1) as network, stock_server(network.peers[0].address) as stock:
        (peer,) = network.peers
        await met(peer, stock)
        rounds: list[int] = []
        check = peer.wire.protocol.call_ping

        async def fail_first(contact: object) -> object:
            rounds.append(len(rounds))
            if len(rounds) == 1:
                raise RuntimeError("odd")
            return await check(contact)

        peer.wire.protocol.call_ping = fail_first
        peer.wire.refresh_table(interval=0.005)

        await until(lambda: len(rounds) >= 3)
        await peer.wire.stop()


async def test_defect_20_upkeep_forgets_contacts_that_ended() -> None:
    """Stock contacts are checked, not only used: after three failed calls in a row a contact is gone."""
    async with open_network(1) as network:
        (peer,) = network.peers
        async with stock_server(peer.address) as stock:
            await met(peer, stock)
            peer.wire.protocol.round_trips.patience_s = lambda address: 0.005
            peer.wire.refresh_table(interval=0.005)
        await until(lambda: not peer.wire.protocol.contacts)


async def test_idle_wire_without_contacts_sends_nothing() -> None:
    """There are no datagrams in an idle network."""
    async with open_network(1) as network:
        (peer,) = network.peers
        await peer.wire._refresh_table()

        assert peer.sent == []


async def test_defect_21_restarted_stock_node_is_found_at_its_new_address() -> None:
    """The library keeps the address at which it first saw an id."""
    async with open_network(1) as network:
        (peer,) = network.peers
        async with stock_server(peer.address, node_id=b"n" * 20) as stock:
            await met(peer, stock)
            before = address_of(stock)
        async with stock_server(peer.address, node_id=b"n" * 20) as again:
            await until(lambda: [each.address for each in peer.wire.protocol.contacts] == [address_of(again)])
            assert address_of(again) != before


async def test_defect_23_nobody_adds_itself() -> None:
    """The library, bootstrapped to its own address, becomes its own contact; ours does not, nor takes in members."""
    async with open_network(2) as network, stock_server() as stock:
        first, second = network.peers

        await stock.bootstrap([address_of(stock)])
        assert not stock.protocol.router.is_new_node(stock.node)
        assert await first.wire.bootstrap([first.address, second.address]) == []
        assert first.wire.protocol.contacts == []


async def test_defect_35_bootstrap_tells_who_answered() -> None:
    """The library gives an empty list without a word; names are resolved before (``bootstrap.seeds``), never here."""
    async with open_network(1) as network, stock_server() as stock, raw_node() as silent:
        (peer,) = network.peers
        peer.wire.protocol.round_trips.patience_s = lambda address: 0.02 if address == silent.address else 1.0

        assert await peer.wire.bootstrap_node(silent.address) is None
        contact = await peer.wire.bootstrap_node(address_of(stock))
        assert contact is not None and contact.address == address_of(stock)
        assert [each.id for each in await peer.wire.bootstrap([address_of(stock)])] == [stock.node.id]


async def test_defect_36_calls_after_the_end_find_nobody() -> None:
    """After ``stop`` the library raises ``AttributeError``; ours answers as if nobody were there."""
    async with open_network(1) as network, stock_server(network.peers[0].address) as stock:
        (peer,) = network.peers
        await met(peer, stock)

        await peer.wire.stop()
        await peer.wire.stop()

        assert await peer.wire.find_value(place_of("key")) is None
        assert await peer.wire.set_digest(place_of("key"), b"value") == 0
        assert await peer.wire.bootstrap_node(address_of(stock)) is None


@pytest.mark.parametrize("is_ours", [False, True], ids=["library", "ours"])
async def test_defect_38_values_never_appear_in_logs(is_ours: bool, caplog: pytest.LogCaptureFixture) -> None:
    """The library logs each value at INFO and DEBUG; ours logs none, even when its loggers are made to speak."""
    async with open_network(2) as network, stock_server() as stock:
        first, second = network.peers
        for name in ("kademlia", "rpcudp", "pair"):
            caplog.set_level(logging.DEBUG, logger=name)
        if is_ours:
            async with raw_node(ping=b"r" * 20, store=True, find_node=[]) as node:
                await node.ask(first.address, "store", b"r" * 20, b"k" * 20, "secret-value")
                await until(lambda: first.wire.protocol.contacts)
                assert await first.wire.set("key", b"secret-value") == 1
        else:
            await stock.bootstrap([second.address])
            await stock.set("key", "secret-value")

        assert ("secret-value" in caplog.text) is not is_ours


async def test_defect_11_no_state_file_of_the_library_is_read_or_written() -> None:
    """The library keeps neighbours in a pickle, which runs whatever it holds; records are in ``node.storage``."""
    async with open_network(1) as network:
        wire = network.peers[0].wire

        with pytest.raises(LocalProtocolError):
            wire.save_state("state")
        with pytest.raises(LocalProtocolError):
            await wire.load_state("state", 0)
        with pytest.raises(LocalProtocolError):
            await wire.listen(0, LOOPBACK)


async def test_many_lookups_at_once_end() -> None:
    """Bounded operations and calls: a burst waits its turn and loses nobody (defect 9 on this wire)."""
    async with open_network(1) as network, stock_server(network.peers[0].address) as stock:
        (peer,) = network.peers
        await met(peer, stock)

        counts = await asyncio.gather(*(peer.wire.set(f"key-{number}", b"value") for number in range(200)))

        assert counts == [1] * 200
        assert [each.id for each in peer.wire.protocol.contacts] == [stock.node.id]
