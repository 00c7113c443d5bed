"""Put, get and delete, as a user of any peer sees them."""

import asyncio
import gc
from collections.abc import Coroutine

import pytest

from node.errors import OperationError
from protocol import limits
from protocol.dht_messages import ListKeys, Store
from tests.node.dht.cluster import Cluster, delete, get, put
from tests.node.dht.virtual_time import in_virtual_time


@in_virtual_time
async def test_value_is_read_at_every_peer() -> None:
    """Ask any peer anything (DESIGN section 1.2)."""
    async with Cluster(12, k=4) as cluster:
        receipt = await put(cluster.peers[0], "color", b"red")

        assert receipt.wanted == 4
        assert receipt.holders == [peer.peer_id.hex() for peer in cluster.holders("color")]
        assert receipt.existed is False
        for peer in cluster.peers:
            found = await get(peer, "color")
            assert (found.record.value, found.record.version) == (b"red", receipt.version)


@in_virtual_time
async def test_put_waits_for_all_living_holders() -> None:
    """Acknowledged means kept: all holders have it when nothing is wrong (DESIGN section 1.4)."""
    async with Cluster(12, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")

        assert sorted(cluster.copies("color")) == sorted(peer.number for peer in cluster.holders("color"))


@in_virtual_time
async def test_delete_hides_the_value_everywhere() -> None:
    """Delete is a tombstone (defect 4)."""
    async with Cluster(12, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        receipt = await delete(cluster.peers[1], "color")

        assert receipt.existed is True
        for peer in cluster.peers:
            with pytest.raises(OperationError) as caught:
                await get(peer, "color")
            assert caught.value.type == "not-found"


@in_virtual_time
async def test_deleting_an_absent_key_is_no_error() -> None:
    """Deleting an absent key exits 0 (DESIGN section 8)."""
    async with Cluster(5, k=4) as cluster:
        receipt = await delete(cluster.peers[0], "nothing")

        assert receipt.existed is False


@in_virtual_time
async def test_absent_key_is_not_found_at_once() -> None:
    """"Not found" needs a majority of absent answers, and all answer here."""
    async with Cluster(12, k=4) as cluster:
        started = asyncio.get_running_loop().time()
        with pytest.raises(OperationError) as caught:
            await get(cluster.stranger_to("nothing"), "nothing")

        assert caught.value.type == "not-found"
        assert asyncio.get_running_loop().time() - started < 0.01


@pytest.mark.parametrize("key", ["", "x" * 513, "\ud800"], ids=["empty", "long", "no UTF-8"])
@in_virtual_time
async def test_impossible_key_is_refused_before_anything_is_stored(key: str) -> None:
    """Keys have 1 to 512 bytes of UTF-8."""
    async with Cluster(3) as cluster:
        for operation in (put(cluster.peers[0], key, b""), get(cluster.peers[0], key), delete(cluster.peers[0], key)):
            with pytest.raises(OperationError) as caught:
                await operation
            assert caught.value.type == "key-invalid"
        assert not any(peer.store.count() for peer in cluster.peers)


@in_virtual_time
async def test_empty_value_and_largest_key_and_value_are_legal() -> None:
    """An empty value is legal; so is the largest (defects 13, 14, 15)."""
    async with Cluster(6, k=3) as cluster:
        await put(cluster.peers[0], "empty", b"")
        await put(cluster.peers[0], "é" * 256, b"\x00" * limits.VALUE_SIZE_MAX_BYTES)

        assert (await get(cluster.peers[5], "empty")).record.value == b""
        assert len((await get(cluster.stranger_to("é" * 256), "é" * 256)).record.value) == limits.VALUE_SIZE_MAX_BYTES


@in_virtual_time
async def test_defect_10_oversized_value_is_refused_before_anything_is_stored() -> None:
    """Defect 10: the size is checked before storage is touched."""
    async with Cluster(3) as cluster:
        with pytest.raises(OperationError) as caught:
            await put(cluster.peers[0], "big", bytes(limits.VALUE_SIZE_MAX_BYTES + 1))

        assert caught.value.type == "value-too-large"
        assert cluster.copies("big") == {}


@in_virtual_time
async def test_later_put_wins_at_every_peer() -> None:
    """Versions are totally ordered, also within one millisecond."""
    async with Cluster(12, k=4) as cluster:
        for number in range(20):
            await put(cluster.peers[number % 12], "counter", b"%d" % number)
        receipt = await put(cluster.peers[0], "counter", b"last")

        assert receipt.existed is True
        for peer in cluster.peers:
            assert (await get(peer, "counter")).record.value == b"last"


@in_virtual_time
async def test_puts_of_one_peer_within_a_millisecond_follow_each_other() -> None:
    """The later one is stamped higher from the start: no holder has to say that it is stale."""
    async with Cluster(6, k=4) as cluster:
        cluster.delay_s = (0.0, 0.0)
        writer = cluster.stranger_to("counter")
        before = cluster.requests("Store")
        versions = [(await put(writer, "counter", b"%d" % number)).version for number in range(50)]

        assert versions == sorted(versions)
        assert cluster.requests("Store") == before + 4 * 50


@in_virtual_time
async def test_concurrent_puts_end_alike_everywhere() -> None:
    """Each acknowledged version was the newest when it was; in the end all peers agree."""
    async with Cluster(12, k=4) as cluster:
        await asyncio.gather(*(put(peer, "raced", b"%d" % peer.number) for peer in cluster.peers))

        versions = {record.version for record in cluster.copies("raced").values()}
        assert len(versions) == 1
        assert {(await get(peer, "raced")).record.version for peer in cluster.peers} == versions


@in_virtual_time
async def test_lone_peer_stores_and_reads() -> None:
    """Defect 24: the last peer alive is a network of one."""
    async with Cluster(1) as cluster:
        receipt = await put(cluster.peers[0], "alone", b"yes")

        assert (receipt.wanted, receipt.holders) == (1, [cluster.peers[0].peer_id.hex()])
        assert (await get(cluster.peers[0], "alone")).record.value == b"yes"
        assert (await delete(cluster.peers[0], "alone")).existed is True
        assert (await cluster.peers[0].dht.keys("", timeout_s=1)).keys == []


@in_virtual_time
async def test_explanation_names_who_was_asked() -> None:
    """Every answer says why (DESIGN section 1.7)."""
    async with Cluster(12, k=4) as cluster:
        receipt = await put(cluster.peers[0], "color", b"red")
        reader = cluster.stranger_to("color")
        found = await get(reader, "color")

        assert receipt.explain is not None
        assert [asked.answer for asked in receipt.explain.asked] == ["synced"] * 4
        assert found.explain.served_by == reader.peer_id.hex()
        (asked,) = found.explain.asked
        assert (asked.id, asked.answer, asked.version) == (receipt.holders[0], "found", receipt.version)


@in_virtual_time
async def test_request_that_is_never_served_leaves_nothing_behind() -> None:
    """A peer that stops ends what it has not begun to serve; Python complains of what was never awaited."""
    async with Cluster(2) as cluster:
        asked, asking = cluster.peers
        for request in (Store(records=()), ListKeys(prefix="")):
            answer = asked.dht.handle(asking.peer_id, request)
            assert isinstance(answer, Coroutine)
            answer.close()
        gc.collect()
