"""Listing asks all members and says whether all answered."""

import asyncio

import pytest

from node.errors import OperationError
from protocol.dht_messages import KeysListed, ListKeys
from protocol.messages import Request
from protocol.records import Record, stamp_of
from tests.node.dht.cluster import Cluster, delete, put
from tests.node.dht.virtual_time import in_virtual_time
from tests.protocol import samples


@in_virtual_time
async def test_listing_is_complete_sorted_and_alike_at_every_peer() -> None:
    """Defect 5: keys are listed by prefix, newest version, without the deleted and the expired."""
    async with Cluster(10, k=3) as cluster:
        names = [f"zone/{number:02}" for number in range(40)]
        receipts = {}
        for number, name in enumerate(names):
            receipts[name] = await put(cluster.peers[number % 10], name, b"x" * number)
        await put(cluster.peers[0], "other", b"")
        await delete(cluster.peers[1], "zone/03")
        await put(cluster.peers[2], "zone/04", b"", ttl_s=1.0)
        await asyncio.sleep(2)
        expected = [name for name in names if name not in ("zone/03", "zone/04")]

        for peer in cluster.peers:
            listing = await peer.dht.keys("zone/", timeout_s=5)
            assert listing.complete
            assert [entry.key for entry in listing.keys] == expected
            assert [entry.version for entry in listing.keys] == [receipts[name].version for name in expected]
            assert [entry.size for entry in listing.keys] == [int(name[-2:]) for name in expected]


@in_virtual_time
async def test_listing_goes_on_page_by_page() -> None:
    """More keys than one page holds."""
    async with Cluster(2, k=2) as cluster:
        await asyncio.gather(*(put(cluster.peers[0], f"k{number:05}", b"") for number in range(1500)))
        listing = await cluster.peers[1].dht.keys("k", timeout_s=30)

        assert (len(listing.keys), listing.complete) == (1500, True)


@in_virtual_time
async def test_listing_says_when_a_member_did_not_answer() -> None:
    """``complete`` is false then, and the keys of the others are there."""
    async with Cluster(6, k=3) as cluster:
        await put(cluster.peers[0], "color", b"red")
        silent = next(peer for peer in cluster.peers[1:] if peer not in cluster.holders("color")[:1])
        cluster.paused.add(silent.peer_id)
        asking = next(peer for peer in cluster.peers if peer is not silent)
        listing = await asking.dht.keys("", timeout_s=1.0)

        assert listing.complete is False
        assert [entry.key for entry in listing.keys] == ["color"]


@in_virtual_time
async def test_listing_without_the_dead_is_complete_after_the_verdict() -> None:
    """Only living members are asked; their copies are enough."""
    async with Cluster(6, k=3) as cluster:
        await put(cluster.peers[0], "color", b"red")
        cluster.kill(cluster.peers[5])
        cluster.verdict(cluster.peers[5])

        assert (await cluster.peers[0].dht.keys("", timeout_s=1.0)).complete is True


@in_virtual_time
async def test_invented_keys_are_not_listed() -> None:
    """A hostile member's unsigned entries neither show nor hide anything; one that repeats itself is left."""
    async with Cluster(5, k=5) as cluster:
        await put(cluster.peers[0], "color", b"red")
        hostile = cluster.peers[4]

        def forged(key: str, stamp: int) -> Record:
            return Record(author_key=samples.identity(2).public_key, key=key, value=b"", stamp=stamp)

        late = stamp_of(hostile.now_ms() + 1000)
        lies = (forged("aaa", late).head, forged("color", late).head)

        def lie(sender: bytes, request: Request) -> KeysListed | None:
            return KeysListed(heads=lies) if isinstance(request, ListKeys) else None

        hostile.answers = lie
        listing = await cluster.peers[0].dht.keys("", timeout_s=1.0)

        assert [entry.key for entry in listing.keys] == ["color"]
        assert listing.complete is False


@pytest.mark.parametrize("prefix", ["x" * 513, "\ud800"])
@in_virtual_time
async def test_impossible_prefix_is_refused(prefix: str) -> None:
    """A prefix is bounded as a key is; the empty one lists all."""
    async with Cluster(1) as cluster:
        with pytest.raises(OperationError) as caught:
            await cluster.peers[0].dht.keys(prefix, timeout_s=1.0)
        assert caught.value.type == "key-invalid"
