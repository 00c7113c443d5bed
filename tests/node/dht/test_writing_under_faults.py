"""Writes when peers are slow, dead, full or in the way."""

import asyncio

import pytest

from node.errors import OperationError
from protocol.dht_messages import RecordOutcome, Store, Stored
from protocol.errors import DiskFull
from protocol.messages import Request
from protocol.records import Record, stamp_of
from protocol.statements import signed
from tests.node.dht.cluster import START_MS, Cluster, FakePeer, delete, get, put
from tests.node.dht.virtual_time import in_virtual_time, until
from tests.protocol import samples


@in_virtual_time
async def test_majority_is_enough_after_a_tenth_of_a_second() -> None:
    """One paused holder of five delays a write by 100 ms and gets its copy later (DESIGN section 1.4)."""
    async with Cluster(12, k=5) as cluster:
        holders = cluster.holders("color")
        cluster.paused.add(holders[0].peer_id)
        started = asyncio.get_running_loop().time()
        receipt = await put(holders[4], "color", b"red")
        took_s = asyncio.get_running_loop().time() - started

        assert (receipt.wanted, len(receipt.holders)) == (5, 4)
        assert 0.1 <= took_s < 0.11
        cluster.paused.clear()
        await until(lambda: len(cluster.copies("color")) == 5, within_s=2)


@in_virtual_time
async def test_slow_holders_slow_the_next_writes_down() -> None:
    """An acknowledged write keeps its place until all holders answered, half a second at most (defect 9)."""
    async with Cluster(12, k=5) as cluster:
        writer = cluster.stranger_to("color")
        free = writer.dht._writer._slots._value
        cluster.paused.add(cluster.holders("color")[0].peer_id)
        await put(writer, "color", b"red")
        assert writer.dht._writer._slots._value == free - 1

        cluster.paused.clear()
        await until(lambda: writer.dht._writer._slots._value == free, within_s=0.3)
        cluster.paused.add(cluster.holders("color")[0].peer_id)
        await put(writer, "color", b"blue")
        await until(lambda: writer.dht._writer._slots._value == free, within_s=0.51)
        cluster.paused.clear()


@in_virtual_time
async def test_write_without_a_majority_fails_at_its_deadline() -> None:
    """Too few holders: the error says that the write may or may not survive."""
    async with Cluster(5, k=5) as cluster:
        cluster.kill(*cluster.peers[1:4])
        with pytest.raises(OperationError) as caught:
            await put(cluster.peers[0], "color", b"red", timeout_s=1.0)

        assert caught.value.type == "not-enough-holders"
        assert "may or may not survive" in caught.value.detail


@in_virtual_time
async def test_write_that_nobody_answered_has_an_unknown_outcome() -> None:
    """An operation ends ok, failed or unknown (DESIGN section 7)."""
    async with Cluster(12, k=3) as cluster:
        writer = cluster.stranger_to("color")
        cluster.kill(*cluster.holders("color"))
        with pytest.raises(OperationError) as caught:
            await put(writer, "color", b"red", timeout_s=1.0)

        assert caught.value.type == "outcome-unknown"


@in_virtual_time
async def test_defect_25_holders_that_die_during_a_write_are_replaced() -> None:
    """Defect 25: all first holders die at once, the verdict comes, and the write ends well on others."""
    async with Cluster(12, k=3) as cluster:
        writer = cluster.stranger_to("color")
        holders = cluster.holders("color")
        cluster.kill(*holders)
        writing = asyncio.create_task(put(writer, "color", b"red"))
        await asyncio.sleep(0.05)
        cluster.verdict(*holders)
        receipt = await writing

        assert receipt.holders == [peer.peer_id.hex() for peer in cluster.holders("color")]
        assert receipt.wanted == 3


@in_virtual_time
async def test_defect_26_receipt_says_who_confirmed_and_how_many_were_wanted() -> None:
    """Defect 26: a write is no bare True; wanted counts members that failed but have not left."""
    async with Cluster(5, k=8) as cluster:
        cluster.kill(cluster.peers[4])
        cluster.verdict(cluster.peers[4])
        receipt = await put(cluster.peers[0], "color", b"red")

        assert (receipt.wanted, len(receipt.holders)) == (5, 4)


@in_virtual_time
async def test_stale_writer_stamps_above_what_is_there() -> None:
    """A peer whose clock is an hour late neither loses its write nor is it told a lie (DESIGN section 7)."""
    async with Cluster(8, k=3) as cluster:
        late = cluster.stranger_to("color")
        late.clock_error_ms = -3_600_000
        await put(cluster.peers[0] if cluster.peers[0] is not late else cluster.peers[1], "color", b"old")
        await put(late, "color", b"new")

        assert {record.value for record in cluster.copies("color").values()} == {b"new"}
        await delete(late, "color")
        with pytest.raises(OperationError):
            await get(cluster.peers[0], "color")


@in_virtual_time
async def test_writer_an_hour_ahead_is_refused_and_the_key_stays_writable() -> None:
    """Holders take nothing from the future, so nobody is locked out of a key."""
    async with Cluster(8, k=3) as cluster:
        fast = cluster.stranger_to("color")
        fast.clock_error_ms = 3_600_000
        with pytest.raises(OperationError) as caught:
            await put(fast, "color", b"future", timeout_s=1.0)
        assert caught.value.type == "not-enough-holders"
        assert "stamp" in caught.value.detail

        await put(cluster.holders("color")[0], "color", b"now")
        assert {record.value for record in cluster.copies("color").values()} == {b"now"}


@in_virtual_time
async def test_writer_that_learns_the_time_after_a_refused_write_is_heard_at_once() -> None:
    """A peer that starts with a fast clock may draw its first stamp before others told it the time."""
    async with Cluster(8, k=3) as cluster:
        fast = cluster.stranger_to("color")
        fast.clock_error_ms = 3_600_000
        with pytest.raises(OperationError):
            await put(fast, "color", b"future", timeout_s=1.0)

        fast.clock_error_ms = 0
        await put(fast, "color", b"now")
        assert {record.value for record in cluster.copies("color").values()} == {b"now"}


def full_disk(peer: FakePeer) -> None:
    async def commit(records: object) -> None:
        raise DiskFull("no space left", next_step="free some")

    peer.store.commit = commit


@in_virtual_time
async def test_full_disks_everywhere_are_named() -> None:
    """All holders refuse: disk-full, 507."""
    async with Cluster(4, k=4) as cluster:
        for peer in cluster.peers:
            full_disk(peer)
        with pytest.raises(OperationError) as caught:
            await put(cluster.peers[0], "color", b"red")

        assert caught.value.type == "disk-full"


@in_virtual_time
async def test_one_full_disk_does_not_stop_a_write() -> None:
    """A majority is enough, and nobody waits for who refused."""
    async with Cluster(5, k=5) as cluster:
        full_disk(cluster.peers[1])
        started = asyncio.get_running_loop().time()
        receipt = await put(cluster.peers[0], "color", b"red")

        assert len(receipt.holders) == 4
        assert asyncio.get_running_loop().time() - started < 0.05


@in_virtual_time
async def test_unproved_excuse_of_a_hostile_holder_is_ignored() -> None:
    """A liar cannot keep others from writing by claiming a newer version that nobody signed."""
    async with Cluster(5, k=5) as cluster:
        liar = cluster.peers[4]
        forged = Record(
            author_key=samples.identity(2).public_key, key="color", value=b"x", stamp=stamp_of(START_MS + 10**9)
        )

        def lie(sender: bytes, request: Request) -> Stored | None:
            if not isinstance(request, Store):
                return None
            return Stored(outcomes=(RecordOutcome(outcome="stale", newer=forged.head),))

        liar.answers = lie
        receipt = await put(cluster.peers[0], "color", b"red")

        assert len(receipt.holders) == 4
        assert liar.peer_id.hex() not in receipt.holders


@in_virtual_time
async def test_write_survives_loss_of_a_third_of_all_datagrams() -> None:
    """Lost datagrams cost time, not writes (defect 19)."""
    async with Cluster(10, k=4) as cluster:
        cluster.loss = 0.33
        await asyncio.gather(*(put(peer, f"key-{peer.number}", b"v") for peer in cluster.peers))
        cluster.loss = 0.0

        for peer in cluster.peers:
            assert (await get(cluster.peers[0], f"key-{peer.number}")).record.value == b"v"


@in_virtual_time
async def test_defect_09_thousand_concurrent_writes_are_all_acknowledged() -> None:
    """Defect 9: 1,000 concurrent writes of 1 KB, each on k living holders soon after."""
    async with Cluster(20, k=4) as cluster:
        writer = cluster.peers[0]
        receipts = await asyncio.gather(*(put(writer, f"key-{number}", bytes(1024)) for number in range(1000)))

        assert all(len(receipt.holders) == 4 for receipt in receipts)
        for number in range(0, 1000, 50):
            assert len(cluster.copies(f"key-{number}")) == 4


@in_virtual_time
async def test_started_write_goes_on_when_its_client_disconnects() -> None:
    """A cancelled caller leaves no half-counted state: the record reaches its holders."""
    async with Cluster(8, k=4) as cluster:
        writing = asyncio.create_task(put(cluster.peers[0], "color", b"red"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        await until(lambda: len(cluster.copies("color")) == 4, within_s=1)


# Conditions


@in_virtual_time
async def test_condition_on_the_version_is_kept() -> None:
    """``--if-version``: the stored version must be that one."""
    async with Cluster(8, k=4) as cluster:
        first = await put(cluster.peers[0], "color", b"red")
        second = await put(cluster.peers[1], "color", b"blue", if_version=first.version)
        with pytest.raises(OperationError) as caught:
            await put(cluster.peers[2], "color", b"green", if_version=first.version)

        assert caught.value.type == "version-mismatch"
        assert caught.value.current_version == second.version
        assert (await get(cluster.peers[3], "color")).record.value == b"blue"


@in_virtual_time
async def test_condition_none_means_absent() -> None:
    """``--if-version none`` is true for a key never written, deleted or expired."""
    async with Cluster(8, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red", if_version="none")
        with pytest.raises(OperationError) as caught:
            await put(cluster.peers[0], "color", b"blue", if_version="none")
        assert caught.value.type == "version-mismatch"

        await delete(cluster.peers[1], "color")
        await put(cluster.peers[0], "color", b"green", if_version="none", ttl_s=1.0)
        await asyncio.sleep(1.5)
        await put(cluster.peers[0], "color", b"white", if_version="none")
        assert (await get(cluster.peers[3], "color")).record.value == b"white"


@in_virtual_time
async def test_conditional_write_without_a_quorum_is_not_tried() -> None:
    """It reads from a majority first."""
    async with Cluster(5, k=5) as cluster:
        cluster.kill(*cluster.peers[2:])
        with pytest.raises(OperationError) as caught:
            await put(cluster.peers[0], "color", b"red", if_version="none", timeout_s=1.0)

        assert caught.value.type == "not-enough-holders"
        assert cluster.copies("color") == {}


# Keys that belong to a peer


@in_virtual_time
async def test_key_of_a_peer_is_written_by_that_peer_alone() -> None:
    """A key ``@<peer id>/…`` belongs to that peer."""
    async with Cluster(5, k=3) as cluster:
        owner, other = cluster.peers[0], cluster.peers[1]
        key = f"@{owner.peer_id.hex()}/status"
        await put(owner, key, b"fine")
        with pytest.raises(OperationError) as caught:
            await put(other, key, b"not fine")

        assert caught.value.status == 403
        assert (await get(other, key)).record.value == b"fine"


@in_virtual_time
async def test_holder_refuses_a_key_of_another_peer() -> None:
    """Holders check it too: a hostile writer skips its own check."""
    async with Cluster(5, k=3) as cluster:
        owner, hostile, holder = cluster.peers[0], cluster.peers[1], cluster.peers[2]
        key = f"@{owner.peer_id.hex()}/status"
        record = signed(
            Record(
                author_key=hostile.identity.public_key, key=key, value=b"mine", stamp=stamp_of(hostile.now_ms())
            ),
            hostile.identity,
            samples.NETWORK_ID,
        )
        for view in (b"view", b""):
            reply = await hostile.request(holder.peer_id, Store(records=(record,), view=view), timeout_s=1)
            assert isinstance(reply, Stored)
            assert reply.outcomes[0].reason == "foreign-key"
        assert cluster.copies(key) == {}


@in_virtual_time
async def test_answers_of_holders_that_need_seconds_count() -> None:
    """When all write at once, answers come late: asking anew would drop them and only add to the work."""
    async with Cluster(10, k=4) as cluster:
        writer = cluster.stranger_to("color")
        cluster.delay_s = (1.0, 1.2)
        receipt = await put(writer, "color", b"red")

        assert len(receipt.holders) >= 3
        assert writer.asked["Store"] == 4
