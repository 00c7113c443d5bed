"""The sums by which two peers compare their copies are true after any history."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from node.dht.holders import Holders
from node.dht.shelf import Shelf
from node.ports import StoredRecord
from simulations.memory_records import MemoryRecordStore
from tests.examples import examples
from tests.node.dht.cluster import FakeMembers
from tests.node.dht.virtual_time import VirtualLoop
from tests.protocol import samples

PEERS = [samples.identity(number).peer_id for number in range(1, 9)]
K = 4

STEPS = st.lists(
    st.tuples(st.sampled_from(["commit", "remove", "rebuild", "members"]), st.integers(0, 11), st.integers(1, 4)),
    max_size=30,
)


def members_of(local: int) -> FakeMembers:
    members = FakeMembers(PEERS[local])
    for number in range(1, 9):
        members.known[PEERS[number - 1]] = samples.descriptor(number)
    members.living = set(PEERS)
    return members


async def replay(steps: list[tuple[str, int, int]]) -> None:
    members = members_of(0)
    holders = Holders(members, K)
    shelf = Shelf(MemoryRecordStore(), holders, PEERS[0])
    await shelf.rebuild(holders.placement, lambda place, holders: None)
    stored: dict[int, StoredRecord] = {}
    for action, key_number, time_ms in steps:
        record = samples.record(1, key=f"key-{key_number}", time_ms=time_ms)
        placed = StoredRecord(record.digest(open_network=False), record)
        if action == "commit":
            (winner,) = await shelf.commit([placed])
            stored[key_number] = StoredRecord(placed.digest, winner)
        elif action == "remove" and key_number in stored:
            await shelf.remove([stored.pop(key_number)])
        elif action == "members":
            members.living ^= {PEERS[1 + key_number % 7]}
            rebuilding = asyncio.create_task(shelf.rebuild(holders.placement, lambda place, holders: None))
            await asyncio.sleep(0)
            (winner,) = await shelf.commit([placed])  # while the rebuild is at work
            stored[key_number] = StoredRecord(placed.digest, winner)
            await rebuilding
        else:
            await shelf.rebuild(holders.placement, lambda place, holders: None)
    grown = [shelf.sums(peer_id) for peer_id in PEERS[1:]]
    await shelf.rebuild(holders.placement, lambda place, holders: None)

    assert grown == [shelf.sums(peer_id) for peer_id in PEERS[1:]]
    noted = {place: stamp async for place, stamp in shelf.walk()}
    assert noted == {each.digest: each.record.stamp for each in stored.values()}
    assert noted == dict(shelf.store.digests())


@given(STEPS)
@settings(max_examples=examples(150), deadline=None)
def test_sums_kept_step_by_step_equal_sums_computed_anew(steps: list[tuple[str, int, int]]) -> None:
    """Commits, removals and changes of members, in any order, also during a rebuild."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(replay(steps))


async def two_shelves() -> tuple[Shelf, Shelf]:
    shelves = []
    for local in (0, 1):
        holders = Holders(members_of(local), K)
        shelf = Shelf(MemoryRecordStore(), holders, PEERS[local])
        await shelf.rebuild(holders.placement, lambda place, holders: None)
        shelves.append(shelf)
    return shelves[0], shelves[1]


def test_equal_copies_have_equal_sums_and_different_ones_do_not() -> None:
    """Only what both should hold counts, so two healthy peers always agree."""

    async def run() -> None:
        left, right = await two_shelves()
        records = [samples.record(1, key=f"key-{number}") for number in range(200)]
        placed = [StoredRecord(record.digest(open_network=False), record) for record in records]
        for shelf, local in ((left, PEERS[0]), (right, PEERS[1])):
            mine = [each for each in placed if local in shelf._holders.of(each.digest).peer_ids]
            await shelf.commit(mine)
        assert left.sums(PEERS[1]) == right.sums(PEERS[0])
        assert any(any(mark) for mark in left.sums(PEERS[1]))

        shared = await left.shared(PEERS[1], 2**16 - 1)
        await left.remove([each for each in placed if each.digest == shared[0]])
        assert sum(a != b for a, b in zip(left.sums(PEERS[1]), right.sums(PEERS[0]), strict=True)) == 1

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


def test_cancelled_commit_is_noted_all_the_same() -> None:
    """The sums never differ from the disk, whoever goes away."""

    class SlowStore(MemoryRecordStore):
        async def commit(self, records):  # type: ignore[no-untyped-def, override]
            await asyncio.sleep(1)
            return await super().commit(records)

    async def run() -> None:
        holders = Holders(members_of(0), K)
        shelf = Shelf(SlowStore(), holders, PEERS[0])
        record = samples.record(1)
        committing = asyncio.create_task(shelf.commit([StoredRecord(samples.KEY_PLACE, record)]))
        await asyncio.sleep(0.5)
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)
        await shelf.close()
        assert shelf.stamp_of(samples.KEY_PLACE) == record.stamp

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())
