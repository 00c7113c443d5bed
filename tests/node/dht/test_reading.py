"""Reads: hedged, repaired upwards, and never the reader's own old value."""

import asyncio

import msgspec
import pytest

from node.errors import OperationError
from node.ports import StoredRecord
from protocol import codec
from protocol.dht_messages import Fetch, Fetched
from protocol.limits import MESSAGE_SIZE_MAX_BYTES
from protocol.messages import Request
from protocol.records import Record, stamp_of
from protocol.statements import signed
from tests.node.dht.cluster import Cluster, FakePeer, delete, get, put
from tests.node.dht.virtual_time import in_virtual_time, until
from tests.protocol import samples


def old_version(writer: FakePeer, key: str, value: bytes = b"old", *, age_s: float = 3600) -> Record:
    """Return a version of ``key`` that was written ``age_s`` ago."""
    return signed(
        Record(
            author_key=writer.identity.public_key,
            key=key,
            value=value,
            stamp=stamp_of(writer.now_ms() - int(age_s * 1000)),
        ),
        writer.identity,
        samples.NETWORK_ID,
    )


@in_virtual_time
async def test_read_costs_one_request_when_nothing_is_wrong() -> None:
    """One hop, one holder: the k closest are known at once."""
    async with Cluster(12, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        reader = cluster.stranger_to("color")
        before = cluster.requests("Fetch")
        await get(reader, "color")

        assert cluster.requests("Fetch") == before + 1


@in_virtual_time
async def test_holder_reads_its_own_copy() -> None:
    """A settled holder asks nobody."""
    async with Cluster(12, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        before = cluster.requests("Fetch")
        await get(cluster.holders("color")[2], "color")

        assert cluster.requests("Fetch") == before


@in_virtual_time
async def test_slow_holder_is_not_waited_for() -> None:
    """The next is asked after the usual round trip (defect 17)."""
    async with Cluster(12, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        reader = cluster.stranger_to("color")
        cluster.paused.add(cluster.holders("color")[0].peer_id)
        started = asyncio.get_running_loop().time()
        found = await get(reader, "color")

        assert found.record.value == b"red"
        assert asyncio.get_running_loop().time() - started < 0.025
        assert [asked.answer for asked in found.explain.asked] == ["no answer", "found"]


@in_virtual_time
async def test_suspects_are_asked_last() -> None:
    """Who is accused just now counts, but is asked when nobody else answers."""
    async with Cluster(12, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        reader = cluster.stranger_to("color")
        first, second = cluster.holders("color")[:2]
        reader.members.suspects.add(first.peer_id)
        found = await get(reader, "color")

        assert [asked.id for asked in found.explain.asked] == [second.peer_id.hex()]


@in_virtual_time
async def test_all_is_found_right_after_a_third_of_the_peers_died() -> None:
    """30 % of 50 peers killed, no verdict yet: all found, and fast."""
    async with Cluster(50, k=8) as cluster:
        keys = [f"key-{number}" for number in range(60)]
        await asyncio.gather(*(put(cluster.peers[number % 50], key, b"v") for number, key in enumerate(keys)))
        for key in keys:  # so that round trips are known
            await get(cluster.peers[0], key)
        dead = cluster.random.sample(cluster.peers[1:], 15)
        cluster.kill(*dead)
        loop = asyncio.get_running_loop()
        times = []
        for key in keys:
            started = loop.time()
            assert (await get(cluster.peers[0], key)).record.value == b"v"
            times.append(loop.time() - started)
        assert sorted(times)[-1] < 0.05

        cluster.verdict(*dead)
        for key in keys:
            assert (await get(cluster.peers[0], key)).record.value == b"v"


@in_virtual_time
async def test_found_record_beats_absent() -> None:
    """Holders that lack a record do not hide it, even when they are most (DESIGN section 7)."""
    async with Cluster(12, k=5) as cluster:
        await put(cluster.peers[0], "color", b"red")
        for holder in cluster.holders("color")[:4]:
            record = holder.store.read(cluster.place_of("color"))
            await holder.dht._shelf.remove([StoredRecord(cluster.place_of("color"), record)])

        assert (await get(cluster.stranger_to("color"), "color")).record.value == b"red"


@in_virtual_time
async def test_not_found_needs_a_majority_of_absent_answers() -> None:
    """Silence is not absence: with too few answers the outcome is an error, not "not found" (defect 26)."""
    async with Cluster(12, k=5) as cluster:
        reader = cluster.stranger_to("nothing")
        cluster.kill(*cluster.holders("nothing")[:3])
        with pytest.raises(OperationError) as caught:
            await get(reader, "nothing", timeout_s=1.0)
        assert caught.value.type == "not-enough-holders"


@in_virtual_time
async def test_absent_is_clear_when_a_minority_is_silent() -> None:
    """Two of five are dead: a miss is told after a short patience, not at the deadline."""
    async with Cluster(12, k=5) as cluster:
        reader = cluster.stranger_to("nothing")
        cluster.kill(*cluster.holders("nothing")[:2])
        started = asyncio.get_running_loop().time()
        with pytest.raises(OperationError) as caught:
            await get(reader, "nothing")

        assert caught.value.type == "not-found"
        assert asyncio.get_running_loop().time() - started < 0.2


@in_virtual_time
async def test_defect_06_read_repair_pushes_only_upwards() -> None:
    """Defect 6: a stale holder gets the newest version, and never gives its own to others."""
    async with Cluster(12, k=5) as cluster:
        await put(cluster.peers[0], "color", b"red")
        stale = cluster.holders("color")[1]
        place = cluster.place_of("color")
        await stale.dht._shelf.remove([StoredRecord(place, stale.store.read(place))])
        await stale.dht._shelf.commit([StoredRecord(place, old_version(stale, "color"))])
        reader = cluster.stranger_to("color")
        for _ in range(5):
            assert (await get(reader, "color", quorum=True)).record.value == b"red"
        await asyncio.sleep(0.1)

        assert {record.value for record in cluster.copies("color").values()} == {b"red"}


@in_virtual_time
async def test_quorum_read_is_fresh_where_a_plain_one_may_not_be() -> None:
    """``--consistency quorum``: the newest of a majority, whatever one holder has."""
    async with Cluster(12, k=5) as cluster:
        await put(cluster.peers[0], "color", b"red")
        for stale in cluster.holders("color")[:2]:
            place = cluster.place_of("color")
            await stale.dht._shelf.remove([StoredRecord(place, stale.store.read(place))])
            await stale.dht._shelf.commit([StoredRecord(place, old_version(stale, "color"))])

        for reader in cluster.peers:
            assert (await get(reader, "color", quorum=True)).record.value == b"red"


@in_virtual_time
async def test_quorum_read_fails_without_a_majority() -> None:
    """It gives no weaker answer than was asked for."""
    async with Cluster(5, k=5) as cluster:
        await put(cluster.peers[0], "color", b"red")
        cluster.kill(*cluster.peers[2:])
        with pytest.raises(OperationError) as caught:
            await get(cluster.peers[0], "color", quorum=True, timeout_s=1.0)

        assert caught.value.type == "not-enough-holders"
        assert (await get(cluster.peers[0], "color")).record.value == b"red"


@in_virtual_time
async def test_defect_01_writer_never_reads_its_own_old_value() -> None:
    """Defect 1: a peer with a copy that is no holder any more writes, then reads what it wrote."""
    async with Cluster(12, k=3) as cluster:
        for number in range(30):
            key = f"key-{number}"
            writer = cluster.stranger_to(key)
            await writer.dht._shelf.commit([StoredRecord(cluster.place_of(key), old_version(writer, key))])
            await put(writer, key, b"new")

            assert (await get(writer, key)).record.value == b"new"
            assert (await get(cluster.stranger_to(key), key)).record.value == b"new"


@in_virtual_time
async def test_defect_01_restarted_holder_does_not_trust_its_old_copy() -> None:
    """Defect 1: what was written while a holder was down is read through it as soon as it is back."""
    async with Cluster(9, k=4) as cluster:
        holder = cluster.holders("color")[0]
        writer = cluster.stranger_to("color")
        await put(writer, "color", b"old")
        cluster.kill(holder)
        cluster.verdict(holder)
        await put(writer, "color", b"new")
        await delete(writer, "other")
        await cluster.restart(holder)

        assert (await get(holder, "color")).record.value == b"new"


@in_virtual_time
async def test_forged_answers_are_not_believed() -> None:
    """A record is checked on read too: its signature, its key, its place (defects 16, 29)."""
    async with Cluster(12, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        hostile = cluster.holders("color")[0]
        true = cluster.copies("color")[hostile.number]
        other_key = old_version(hostile, "taste", b"sour", age_s=0)
        forged = msgspec.structs.replace(true, value=b"blue", stamp=true.stamp + 1)
        for record in (forged, other_key):

            def lie(sender: bytes, request: Request, record: Record = record) -> Fetched | None:
                return Fetched(record=record) if isinstance(request, Fetch) else None

            hostile.answers = lie
            for reader in cluster.peers:
                if reader is not hostile:
                    assert (await get(reader, "color", quorum=True)).record.value == b"red"
                    assert (await get(reader, "color")).record.value == b"red"


@in_virtual_time
async def test_expired_value_is_gone_everywhere_at_its_time() -> None:
    """Defect 3: expiry is absolute; repair and hand-over do not reset it."""
    async with Cluster(10, k=4) as cluster:
        await put(cluster.peers[0], "flash", b"now", ttl_s=30.0)
        await asyncio.sleep(20)
        cluster.kill(cluster.holders("flash")[0])
        cluster.verdict(*[peer for peer in cluster.peers if not peer.runs])
        await asyncio.sleep(5)
        assert len(cluster.copies("flash")) == 4
        await asyncio.sleep(6)

        for peer in cluster.peers:
            if peer.runs:
                with pytest.raises(OperationError) as caught:
                    await get(peer, "flash")
                assert caught.value.type == "not-found"
        await until(lambda: not cluster.copies("flash"), within_s=120)


@in_virtual_time
async def test_wrong_guess_of_the_holders_is_corrected_by_those_asked() -> None:
    """A reader whose table lacks most holders learns of them from one that knows (DESIGN section 7)."""
    async with Cluster(12, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        reader = cluster.stranger_to("color")
        away = cluster.holders("color")
        reader.members.living -= {peer.peer_id for peer in away}
        with pytest.raises(OperationError):
            await get(reader, "color")
        reader.members.living.add(away[3].peer_id)

        assert (await get(reader, "color")).record.value == b"red"


@in_virtual_time
async def test_answer_with_a_kibibyte_fits_a_datagram_while_views_differ() -> None:
    """After deaths views differ for a moment: reads that all went over TCP then took most of two cores."""
    async with Cluster(12, k=8) as cluster:
        await put(cluster.peers[0], "color", bytes(1024))
        holder, reader = cluster.holders("color")[0], cluster.stranger_to("color")
        place = cluster.place_of("color")

        found = await reader.request(holder.peer_id, Fetch(place=place, view=b"else"), timeout_s=1)
        absent = await reader.request(holder.peer_id, Fetch(place=bytes(20), view=b"else"), timeout_s=1)
        counted = await reader.request(
            holder.peer_id, Fetch(place=place, view=b"else", counts_holders=True), timeout_s=1
        )

        assert isinstance(found, Fetched) and found.record is not None
        assert codec.encoded_size(found) <= MESSAGE_SIZE_MAX_BYTES
        assert isinstance(absent, Fetched) and len(absent.holders) == 8, "who finds nothing hears where else to ask"
        assert isinstance(counted, Fetched) and len(counted.holders) == 8, "who counts hears of whom to count"
