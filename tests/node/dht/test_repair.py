"""k copies again after each change of members, and nothing else moves."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from node.errors import OperationError
from node.ports import StoredRecord
from protocol.dht_messages import Offer, Store, Stored
from protocol.ids import Digest
from protocol.messages import Request
from protocol.records import Record
from tests.node.dht.cluster import Cluster, FakePeer, get, put
from tests.node.dht.test_reading import old_version
from tests.node.dht.virtual_time import in_virtual_time, until


def all_placed(cluster: Cluster, keys: list[str]) -> bool:
    """Return whether every key is on exactly all of its holders, the same version on each."""
    for key in keys:
        copies = cluster.copies(key)
        holders = {peer.number for peer in cluster.holders(key)}
        if not holders <= set(copies) or len({record.version for record in copies.values()}) != 1:
            return False
    return True


async def filled(cluster: Cluster, count: int) -> list[str]:
    keys = [f"key-{number}" for number in range(count)]
    writers = [cluster.peers[number % len(cluster.peers)] for number in range(count)]
    await asyncio.gather(*(put(writer, key, b"v") for writer, key in zip(writers, keys, strict=True)))
    assert all_placed(cluster, keys)
    return keys


async def _lose(peer: FakePeer, place: Digest) -> Record:
    record: Record = peer.store.read(place)
    await peer.dht._shelf.remove([StoredRecord(place, record)])
    return record


@in_virtual_time
async def test_death_starts_copies_at_once_in_small_steps_and_all_of_them_a_second_later() -> None:
    """Verdicts start re-replication: the best-ranked survivor gives a new holder its copy, five a second at first."""
    async with Cluster(12, k=4) as cluster:
        keys = await filled(cluster, 400)
        dead = cluster.peers[3]
        cluster.kill(dead)
        before = cluster.requests("Offer")
        cluster.verdict(dead)

        await until(lambda: cluster.requests("Offer") > before, within_s=0.05)
        await asyncio.sleep(0.8)
        assert cluster.requests("Offer") - before <= 5 * 11
        assert not all_placed(cluster, keys)
        await until(lambda: all_placed(cluster, keys), within_s=1)


@in_virtual_time
async def test_after_many_deaths_each_survivor_makes_its_most_urgent_copy_at_once() -> None:
    """Of many that died at once: the record with the fewest copies left comes first, the others a second later."""
    async with Cluster(16, k=4) as cluster:
        keys = await filled(cluster, 60)
        dead = cluster.peers[2:7]
        copies_left: dict[Digest, int] = {}
        urgencies: dict[bytes, list[int]] = {}
        for key in keys:
            left = [holder.peer_id for holder in cluster.holders(key) if holder not in dead]
            copies_left[cluster.place_of(key)] = len(left)
            if left and len(left) < 4:
                urgencies.setdefault(left[0], []).append(len(left))
        offered: dict[bytes, list[int]] = {}

        def note(sender: bytes, request: Request) -> None:
            if isinstance(request, Offer):
                offered.setdefault(sender, []).extend(copies_left[holding.place] for holding in request.holdings)

        for peer in cluster.peers:
            peer.answers = note
        cluster.kill(*dead)
        cluster.verdict(*dead)
        await asyncio.sleep(0.9)

        assert any(len(set(numbers)) > 1 for numbers in urgencies.values())
        assert offered == {sender: [min(numbers)] for sender, numbers in urgencies.items()}


@in_virtual_time
async def test_first_copies_after_deaths_are_not_made_twice() -> None:
    """Verdicts about many come one after the other: what was given after the first is not given again."""
    async with Cluster(12, k=4) as cluster:
        await filled(cluster, 20)
        offers: Counter[tuple[bytes, int, Digest]] = Counter()

        def note_at(number: int) -> Callable[[bytes, Request], None]:
            def note(sender: bytes, request: Request) -> None:
                if isinstance(request, Offer):
                    offers.update((sender, number, holding.place) for holding in request.holdings)

            return note

        for peer in cluster.peers:
            peer.answers = note_at(peer.number)
        for dead in cluster.peers[3:6]:
            cluster.kill(dead)
            cluster.verdict(dead)
            await asyncio.sleep(0.3)

        assert offers and set(offers.values()) == {1}


@in_virtual_time
async def test_newcomer_does_not_wait_for_the_mourning() -> None:
    """Reads are careful for two seconds after somebody came: its copies must be there by then."""
    async with Cluster(12, k=4) as cluster:
        keys = await filled(cluster, 100)
        dead = cluster.peers[3]
        cluster.kill(dead)
        cluster.verdict(dead)
        await cluster.join()

        await until(lambda: all_placed(cluster, keys), within_s=1.5)


@in_virtual_time
async def test_second_ranked_holder_makes_up_for_a_first_that_lacks_the_record() -> None:
    """The first may be new itself; the second pushes later, and what is there by then is not sent again."""
    async with Cluster(8, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        await asyncio.sleep(6)
        holders = cluster.holders("color")
        record = await _lose(holders[0], cluster.place_of("color"))
        cluster.kill(holders[3])
        cluster.verdict(holders[3])

        newcomer = cluster.holders("color")[3]
        await until(lambda: newcomer.number in cluster.copies("color"), within_s=3)
        assert cluster.copies("color")[newcomer.number] == record


@in_virtual_time
async def test_three_deaths_at_once_lose_nothing() -> None:
    """Any k - 1 destroyed disks never lose an acknowledged write (DESIGN section 1.4)."""
    async with Cluster(14, k=4) as cluster:
        keys = await filled(cluster, 100)
        dead = cluster.peers[2:5]
        cluster.kill(*dead)
        cluster.verdict(*dead)

        await until(lambda: all_placed(cluster, keys), within_s=5)


@in_virtual_time
async def test_defects_07_08_newcomer_gets_exactly_its_keys() -> None:
    """Defects 7, 8: a newcomer is given what it must hold, all of it, and nothing else."""
    async with Cluster(10, k=4) as cluster:
        keys = await filled(cluster, 400)
        newcomer = await cluster.join()
        await until(lambda: all_placed(cluster, keys), within_s=5)

        mine = [key for key in keys if newcomer in cluster.holders(key)]
        assert newcomer.store.count() == len(mine) > 0


@in_virtual_time
async def test_newcomer_is_sent_each_record_once_or_nearly() -> None:
    """Four holders offer the same records; what one was asked for is not asked of the others."""
    async with Cluster(10, k=4) as cluster:
        keys = await filled(cluster, 200)
        received = 0
        newcomer = None

        def count(sender: bytes, request: Request) -> None:
            nonlocal received
            if isinstance(request, Store):
                received += len(request.records)

        newcomer = await cluster.join()
        newcomer.answers = count
        await until(lambda: all_placed(cluster, keys), within_s=5)
        assert received <= 1.2 * newcomer.store.count()


@in_virtual_time
async def test_foreign_copy_is_dropped_only_after_all_holders_confirmed() -> None:
    """A copy that is not ours goes once k closer holders have that version, and stays as long as one lacks it."""
    async with Cluster(10, k=3) as cluster:
        keys = await filled(cluster, 60)
        newcomer = await cluster.join()

        def deaf(sender: bytes, request: Request) -> Stored | None:
            return Stored(outcomes=()) if isinstance(request, Offer | Store) else None

        newcomer.answers = deaf
        displaced = [key for key in keys if newcomer in cluster.holders(key)]
        await asyncio.sleep(20)
        assert displaced
        assert all(len(cluster.copies(key)) == 3 for key in displaced)

        newcomer.answers = lambda sender, request: None

        def nothing_is_foreign() -> bool:
            return all(set(cluster.copies(key)) == {peer.number for peer in cluster.holders(key)} for key in keys)

        await until(nothing_is_foreign, within_s=30)


@in_virtual_time
async def test_defect_02_stale_holder_that_returns_rolls_nobody_back() -> None:
    """Defect 2: repair goes upwards only, whoever comes with an old version."""
    async with Cluster(10, k=4) as cluster:
        keys = await filled(cluster, 40)
        returning = cluster.peers[5]
        cluster.kill(returning)
        cluster.verdict(returning)
        for key in keys:
            await put(cluster.peers[0], key, b"new")
        await cluster.restart(returning)
        await until(lambda: all_placed(cluster, keys), within_s=5)

        for key in keys:
            assert {record.value for record in cluster.copies(key).values()} == {b"new"}


@in_virtual_time
async def test_both_halves_of_a_cut_agree_two_seconds_after_it_healed() -> None:
    """After a cut heals the newest write of either side is what every peer answers (DESIGN section 7)."""
    async with Cluster(10, k=4) as cluster:
        left, right = cluster.peers[:5], cluster.peers[5:]
        await put(left[0], "both", b"before")
        cluster.divide(left, right)
        for peer in left:
            cluster.part(peer, right)
        for peer in right:
            cluster.part(peer, left)
        await asyncio.sleep(1)
        await put(left[0], "both", b"left")
        await put(left[1], "only left", b"l")
        await asyncio.sleep(1)
        await put(right[0], "both", b"right")
        await put(right[1], "only right", b"r")
        await asyncio.sleep(5)
        cluster.heal()
        await asyncio.sleep(2)

        for peer in cluster.peers:
            assert (await get(peer, "both")).record.value == b"right"
            assert (await get(peer, "only left")).record.value == b"l"
            assert (await get(peer, "only right")).record.value == b"r"


@in_virtual_time
async def test_short_cut_without_verdicts_heals_within_two_seconds() -> None:
    """A holder that missed a write without anybody noticing gets it from the writer."""
    async with Cluster(10, k=4) as cluster:
        holders = cluster.holders("color")
        writer = cluster.stranger_to("color")
        bringers: list[bytes] = []

        def note(sender: bytes, request: Request) -> None:
            if isinstance(request, Store):
                bringers.append(sender)

        holders[0].answers = note
        cluster.divide([holders[0]])
        await put(writer, "color", b"red")
        await asyncio.sleep(3)
        cluster.cut.clear()
        await asyncio.sleep(2)

        assert writer.peer_id in bringers
        assert (await get(holders[0], "color")).record.value == b"red"


@in_virtual_time
async def test_half_written_record_of_a_dead_writer_is_spread() -> None:
    """A writer that dies in the middle leaves no peers that answer differently for long."""
    async with Cluster(12, k=4) as cluster:
        writer = cluster.stranger_to("color")
        first = cluster.holders("color")[1]
        record = old_version(writer, "color", b"half", age_s=1)
        await first.dht._shelf.commit([StoredRecord(cluster.place_of("color"), record)])
        cluster.kill(writer)
        cluster.verdict(writer)

        await until(lambda: all_placed(cluster, ["color"]), within_s=4)


@in_virtual_time
async def test_restart_of_all_peers_causes_no_storm() -> None:
    """Fifty peers stop and start: all is there, and what is equal is compared, not copied."""
    async with Cluster(50, k=8) as cluster:
        keys = await filled(cluster, 200)
        cluster.kill(*cluster.peers)
        await asyncio.sleep(1)
        before = cluster.requests()
        await cluster.restart(*cluster.peers)
        await asyncio.sleep(5)

        stores = sum(peer.asked.get("Store", 0) for peer in cluster.peers)
        assert all_placed(cluster, keys)
        assert stores < 2 * 8 * 200  # the writes themselves were 1,600
        assert cluster.requests() - before < 50 * 49 * 3
        assert (await get(cluster.peers[0], keys[0])).record.value == b"v"


@in_virtual_time
async def test_quiet_network_stays_quiet() -> None:
    """With nothing to repair, each peer sends one comparison every two seconds or so."""
    async with Cluster(12, k=4) as cluster:
        await filled(cluster, 50)
        await asyncio.sleep(5)
        before = cluster.requests()
        await asyncio.sleep(60)

        assert cluster.requests() - before < 12 * 60


@in_virtual_time
async def test_lost_copy_is_found_by_the_periodic_comparison() -> None:
    """What no event shows, the slow comparison of pairs finds."""
    async with Cluster(8, k=4) as cluster:
        keys = await filled(cluster, 40)
        place = cluster.place_of(keys[0])
        holder = cluster.holders(keys[0])[2]
        await holder.dht._shelf.remove([StoredRecord(place, holder.store.read(place))])

        await until(lambda: all_placed(cluster, keys), within_s=60)


@in_virtual_time
@pytest.mark.parametrize("found_by", ["comparison", "read"])
async def test_expired_version_is_brought_to_a_holder_that_missed_it(found_by: str) -> None:
    """Else that holder goes on answering with the version before (found by swizzle: 7 peers, k = 3, seed 4)."""
    async with Cluster(6, k=3) as cluster:
        writer, place = cluster.peers[0], cluster.place_of("key")
        behind = cluster.holders("key")[2]
        await put(writer, "key", b"for ever")
        before = behind.store.read(place)
        await writer.dht.put("key", b"for a second", ttl_s=1.0, if_version=None, timeout_s=5)
        short_lived = await _lose(behind, place)
        await behind.dht._shelf.commit([StoredRecord(place, before)], is_replica=True)
        await asyncio.sleep(1.5)
        if found_by == "read":
            with pytest.raises(OperationError):
                await behind.dht.get("key", quorum=True, timeout_s=5)

        await until(lambda: behind.store.read(place) == short_lived, within_s=0.5 if found_by == "read" else 40)

        with pytest.raises(OperationError, match="no key"):
            await get(behind, "key")


@in_virtual_time
async def test_disagreement_about_holders_is_settled_by_the_holders() -> None:
    """A writer that does not know of a member yet: those who do bring it its copy."""
    async with Cluster(12, k=4) as cluster:
        writer = cluster.stranger_to("color")
        unknown = cluster.holders("color")[0]
        writer.members.living.discard(unknown.peer_id)
        del writer.members.known[unknown.peer_id]
        await put(writer, "color", b"red")

        await until(lambda: unknown.number in cluster.copies("color"), within_s=1)


@in_virtual_time
async def test_only_members_of_the_merged_list_count() -> None:
    """A coordinator that wrongly believes closer members dead is corrected: they are asked and counted."""
    async with Cluster(12, k=4) as cluster:
        writer = cluster.stranger_to("color")
        believed_dead = cluster.holders("color")[0]
        receipt = await put(writer, "color", b"red")
        assert believed_dead.peer_id.hex() in receipt.holders

        cluster.part(writer, [believed_dead])
        receipt = await put(writer, "color", b"blue")
        assert believed_dead.peer_id.hex() not in receipt.holders
        await until(lambda: cluster.copies("color")[believed_dead.number].value == b"blue", within_s=2)


@in_virtual_time
async def test_who_offers_an_old_version_gets_the_newer_one() -> None:
    """An offer below what the receiver has is answered with the receiver's own offer."""
    async with Cluster(6, k=6) as cluster:
        await put(cluster.peers[0], "color", b"new")
        stale, place = cluster.peers[3], cluster.place_of("color")
        await stale.dht._shelf.remove([StoredRecord(place, stale.store.read(place))])
        await stale.dht._shelf.commit([StoredRecord(place, old_version(stale, "color"))])
        stale.dht._outbox.push(cluster.peers[1].peer_id, [place])

        await until(lambda: cluster.copies("color")[stale.number].value == b"new", within_s=0.1)


@in_virtual_time
async def test_large_values_are_repaired_one_by_one() -> None:
    """A batch ends at some hundred kilobytes, so that no request grows without bound."""
    async with Cluster(8, k=3) as cluster:
        for number in range(12):
            await put(cluster.peers[0], f"big-{number}", bytes([number]) * 300_000)
        dead = cluster.holders("big-0")[0]
        cluster.kill(dead)
        cluster.verdict(dead)

        await until(lambda: all_placed(cluster, [f"big-{number}" for number in range(12)]), within_s=10)


@in_virtual_time
async def test_defect_05_nothing_is_lost_over_many_kills_and_restarts() -> None:
    """Acknowledged writes over 30 kills of random peers under load, each restarted: all are read back."""
    async with Cluster(10, k=4, seed=7) as cluster:
        written: dict[str, bytes] = {}
        for cycle in range(30):
            victim = cluster.random.choice(cluster.peers)
            writers = [peer for peer in cluster.peers if peer is not victim]
            tasks = []
            for number in range(10):
                key, value = f"key-{number}", b"%d" % cycle
                tasks.append((key, value, asyncio.create_task(put(writers[number % len(writers)], key, value))))
            await asyncio.sleep(cluster.random.uniform(0, 0.002))
            cluster.kill(victim)
            await asyncio.sleep(0.05)
            cluster.verdict(victim)
            for key, value, task in tasks:
                await task
                written[key] = value
            await cluster.restart(victim)
            await asyncio.sleep(cluster.random.uniform(0, 0.5))
        await asyncio.sleep(2)

        for peer in cluster.peers:
            for key, value in written.items():
                assert (await get(peer, key)).record.value == value


@in_virtual_time
async def test_get_of_missing_key_raises_not_found_during_repair() -> None:
    """Nothing raises anything but an operation error while members come and go."""
    async with Cluster(10, k=4) as cluster:
        dead = cluster.peers[1]
        cluster.kill(dead)
        asking = [asyncio.create_task(get(peer, "nothing")) for peer in cluster.peers if peer.runs]
        cluster.verdict(dead)
        for task in asking:
            with pytest.raises(OperationError):
                await task
