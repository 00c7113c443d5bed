"""What is deleted or expired goes for good, and does not come back."""

import asyncio

import pytest

from node.dht.writing import TOMBSTONE_KEPT_MS
from node.errors import OperationError
from node.ports import StoredRecord
from protocol.dht_messages import Compare
from protocol.records import stamp_of
from tests.node.dht.cluster import Cluster, FakePeer, delete, get, put
from tests.node.dht.test_reading import old_version
from tests.node.dht.virtual_time import in_virtual_time, until

DAY_S = TOMBSTONE_KEPT_MS / 1000


def skip(cluster: Cluster, seconds: float) -> None:
    """Let every clock of the network run ahead, without living through it."""
    for peer in cluster.peers:
        peer.clock_error_ms += int(seconds * 1000)


async def is_absent(peer: FakePeer, key: str) -> bool:
    try:
        await get(peer, key)
    except OperationError as error:
        assert error.type == "not-found"
        return True
    return False


@in_virtual_time
async def test_tombstone_stays_a_day_and_is_collected_everywhere() -> None:
    """Tombstones are collected after a day; its stamp is kept by every holder."""
    async with Cluster(6, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        receipt = await delete(cluster.peers[0], "color")
        skip(cluster, DAY_S - 60)
        await asyncio.sleep(10)
        assert len(cluster.copies("color")) == 4

        skip(cluster, 180)
        await until(lambda: not cluster.copies("color"), within_s=20)
        for peer in cluster.holders("color"):
            assert f"{peer.store.collected_before:016x}" == receipt.version.partition("-")[0]


@in_virtual_time
async def test_collected_before_spreads_to_all() -> None:
    """Every peer knows it after some comparisons, holder or not."""
    async with Cluster(6, k=2) as cluster:
        await delete(cluster.peers[0], "color")
        skip(cluster, DAY_S + 180)

        await until(lambda: all(peer.store.collected_before for peer in cluster.peers), within_s=300)


@in_virtual_time
async def test_peer_that_was_away_too_long_sets_the_deleted_aside() -> None:
    """A returning peer sets aside what was deleted and collected meanwhile, and nothing else."""
    async with Cluster(8, k=4) as cluster:
        keys = [f"key-{number}" for number in range(40)]
        for key in keys:
            await put(cluster.peers[0], key, b"v")
        away = cluster.peers[5]
        cluster.kill(away)
        cluster.verdict(away)
        deleted = keys[::2]
        for key in deleted:
            await delete(cluster.peers[0], key)
        skip(cluster, DAY_S + 180)
        await asyncio.sleep(10)
        await cluster.restart(away)
        await asyncio.sleep(10)

        for key in keys:
            expected = key in deleted
            for peer in cluster.peers:
                assert await is_absent(peer, key) == expected, key
        held = [key for key in deleted if away.number in cluster.copies(key)]
        assert held == []
        assert away.store.kept_aside


@in_virtual_time
async def test_write_of_a_minority_survives_a_short_absence() -> None:
    """A version that most holders lack is kept, and spread, unless so old that its delete may be forgotten."""
    async with Cluster(8, k=4) as cluster:
        away = cluster.holders("color")[0]
        await delete(cluster.peers[0], "other")
        cluster.kill(away)
        cluster.verdict(away)
        record = old_version(away, "color", b"only here", age_s=3600)
        await away.store.commit([StoredRecord(cluster.place_of("color"), record)])
        await cluster.restart(away)
        await asyncio.sleep(3)

        for peer in cluster.peers:
            assert (await get(peer, "color")).record.value == b"only here"


@in_virtual_time
async def test_nobody_makes_others_forget_what_is_young() -> None:
    """A hostile member that claims to have collected the future is not believed."""
    async with Cluster(6, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        for peer in cluster.peers[1:]:
            claim = Compare(buckets=tuple(bytes(8) for _ in range(16)), collected_before=stamp_of(peer.now_ms()))
            await cluster.peers[0].request(peer.peer_id, claim, timeout_s=1)
        await asyncio.sleep(5)

        assert all(peer.store.collected_before == 0 for peer in cluster.peers)
        assert len(cluster.copies("color")) == 4


@in_virtual_time
async def test_key_is_writable_again_after_delete_and_collection() -> None:
    """Delete, wait, write: the new value is read everywhere."""
    async with Cluster(6, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        await delete(cluster.peers[0], "color")
        await put(cluster.peers[1], "color", b"blue")
        assert (await get(cluster.peers[2], "color")).record.value == b"blue"
        await delete(cluster.peers[0], "color")
        skip(cluster, DAY_S + 180)
        await asyncio.sleep(10)
        await put(cluster.peers[1], "color", b"green")

        for peer in cluster.peers:
            assert (await get(peer, "color")).record.value == b"green"


@in_virtual_time
async def test_impossible_time_to_live_is_refused() -> None:
    """An expiry must fit the record."""
    async with Cluster(1) as cluster:
        with pytest.raises(OperationError) as caught:
            await put(cluster.peers[0], "color", b"red", ttl_s=1e30)
        assert caught.value.type == "bad-request"
