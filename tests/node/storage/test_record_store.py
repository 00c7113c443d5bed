"""The contract of ``node.ports.RecordStore``, on the store in memory and on the one on disk alike."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.ports import RecordStore, StoredRecord
from protocol.records import Record
from simulations.memory_records import MemoryRecordStore
from tests.examples import examples
from tests.node.storage.samples import ALICE, BOB, mixed, place_of, stored
from tests.node.storage.stores import OPENERS, Opener, on_disk

MIB = 2**20


@pytest_asyncio.fixture(params=OPENERS, ids=lambda opener: opener.__name__)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RecordStore]:
    opener: Opener = request.param
    async with opener(tmp_path / "records.sqlite") as store:
        yield store


async def test_absent_record_is_none(store: RecordStore) -> None:
    """An empty store answers every question."""
    assert store.read(place_of("a")) is None
    assert list(store.digests()) == []
    assert (store.scan(""), store.changed_since(0), store.expired(10**15)) == ([], [], [])
    assert (store.count(), store.usage(ALICE), store.collected_before) == (0, (0, 0), 0)


async def test_committed_record_is_read_back_whole(store: RecordStore) -> None:
    """Every field, also empty values, keys of any characters, and values of the largest size."""
    entries = [
        stored("plain", expires_ms=7),
        stored("empty", b""),
        stored("zero \0 inside, tab\t, é, 漢, \U0010ffff", b"\0" * 10),
        stored("gone", is_tombstone=True),
        stored("large", b"\xff" * MIB, stamp=2**63 - 1),
        stored("", place=place_of("a stock node's")),
    ]

    assert await store.commit(entries) == [entry.record for entry in entries]

    assert [store.read(entry.digest) for entry in entries] == [entry.record for entry in entries]


async def test_newer_version_replaces_and_older_changes_nothing(store: RecordStore) -> None:
    """The newest version is kept whatever the order of arrival; the answer is the version now stored."""
    old, new, newest = (stored("key", b"%d" % stamp, stamp=stamp) for stamp in (1, 2, 3))

    assert await store.commit([new]) == [new.record]
    assert await store.commit([old]) == [new.record]
    assert await store.commit([old, newest, new]) == [new.record, newest.record, newest.record]

    assert store.read(new.digest) == newest.record
    assert (store.count(), store.usage(ALICE)) == (1, (1, 1))


async def test_same_stamp_is_decided_alike_in_any_order(store: RecordStore) -> None:
    """Total order: time, writer, content."""
    left, right = stored("key", b"x", author=ALICE), stored("key", b"y", author=BOB)
    winner = max(left.record, right.record, key=lambda record: record.order)

    await store.commit([left, right])
    assert store.read(left.digest) == winner
    await store.commit([right, left])
    assert store.read(left.digest) == winner


async def test_winner_is_the_very_record_that_was_given(store: RecordStore) -> None:
    """So a caller can tell what it changed: the same version again changes nothing."""
    first, again = stored("key"), stored("key")
    assert (await store.commit([first]))[0] is first.record
    assert (await store.commit([again]))[0] is not again.record
    assert await store.commit([]) == []


async def test_remove_forgets_exactly_that_version(store: RecordStore) -> None:
    """A newer version that came in between stays."""
    old, new, other = stored("key", b"1", stamp=1), stored("key", b"2", stamp=2), stored("other")
    await store.commit([new, other])

    await store.remove([old, stored("unknown")])
    assert store.read(new.digest) == new.record
    await store.remove([new])

    assert store.read(new.digest) is None
    assert (store.count(), store.usage(ALICE)) == (1, (1, 5))
    assert store.scan("") == [other.record]
    await store.remove([])


async def test_set_aside_hides_exactly_that_version_from_every_read(store: RecordStore) -> None:
    """What was collected elsewhere must not come back, but is not destroyed."""
    entry, newer = stored("key", expires_ms=5), stored("key", b"2", stamp=2)
    await store.commit([entry])

    await store.set_aside([newer])
    assert store.read(entry.digest) == entry.record
    await store.set_aside([entry])

    assert store.read(entry.digest) is None
    assert list(store.digests()) == []
    assert (store.scan(""), store.changed_since(0), store.expired(10)) == ([], [], [])
    assert (store.count(), store.usage(ALICE)) == (0, (0, 0))
    await store.commit([newer])
    assert store.read(entry.digest) == newer.record


async def test_scan_pages_through_a_prefix_in_order_of_code_points(store: RecordStore) -> None:
    """Also where UTF-16 would order otherwise, and with records that know no key in between."""
    keys = ["a", "a/", "a/\x00", "a/b", "a/z", "a/é", "a/\ue000", "a/\U0001f600", "a/\U0010ffff", "a0", "b"]
    await store.commit([stored(key) for key in keys] + [stored("", place=place_of("stock"))])

    found: list[str] = []
    while page := store.scan("a/", after=found[-1] if found else "", limit=2):
        assert len(page) <= 2
        found += [record.key for record in page]

    assert found == [key for key in sorted(keys) if key.startswith("a/")]
    assert [record.key for record in store.scan("")] == sorted(keys)
    assert [record.key for record in store.scan("a", after="a/\U0010ffff")] == ["a0"]
    assert store.scan("c") == store.scan("a/", after="b") == []


async def test_changed_since_pages_by_stamp_and_place(store: RecordStore) -> None:
    """Records that share a stamp are not lost between two pages."""
    entries = mixed(30)
    await store.commit(entries)
    expected = sorted(entries, key=lambda entry: (entry.record.stamp, entry.digest))

    found: list[StoredRecord] = list(store.changed_since(0, limit=4))
    while page := store.changed_since(found[-1].record.stamp, after=found[-1].digest, limit=4):
        found += page

    assert found == expected
    assert store.changed_since(5) == [entry for entry in expected if entry.record.stamp > 5]
    assert store.changed_since(2**63 - 1) == []


async def test_expired_are_found_by_time(store: RecordStore) -> None:
    """Tombstones included, never those without an expiry, the oldest first."""
    await store.commit(
        [
            stored("c", expires_ms=30),
            stored("a", expires_ms=10),
            stored("b", expires_ms=20, is_tombstone=True),
            stored("never"),
        ]
    )
    assert [entry.record.key for entry in store.expired(20)] == ["a", "b"]
    assert [entry.record.key for entry in store.expired(2**62, limit=2)] == ["a", "b"]
    assert store.expired(9) == []


async def test_pages_are_bounded_by_the_size_of_their_values(store: RecordStore) -> None:
    """Some 8 MiB at a time, and never an empty page before the end."""
    await store.commit([stored(f"k{number:02}", bytes(MIB), stamp=number + 1, expires_ms=1) for number in range(10)])

    assert len(store.scan("k")) == len(store.changed_since(0)) == len(store.expired(1)) == 8
    assert [record.key for record in store.scan("k", after="k07")] == ["k08", "k09"]


async def test_counters_follow_every_change(store: RecordStore) -> None:
    """Live values, and records and bytes of each writer."""
    await store.commit([stored("a", b"123"), stored("b", b"12345", author=BOB)])
    assert (store.count(), store.usage(ALICE), store.usage(BOB)) == (2, (1, 3), (1, 5))
    await store.commit([stored("a", b"1", stamp=2, author=BOB), stored("b", stamp=3, is_tombstone=True)])
    assert (store.count(), store.usage(ALICE), store.usage(BOB)) == (1, (1, 0), (1, 1))


async def test_collected_before_only_rises(store: RecordStore) -> None:
    """A lower one changes nothing."""
    for stamp, expected in ((5, 5), (3, 5), (2**63 - 1, 2**63 - 1)):
        await store.raise_collected_before(stamp)
        assert store.collected_before == expected


async def test_concurrent_commits_are_all_answered(store: RecordStore) -> None:
    """Each with the version that is stored then; the newest is the last."""
    entries = [stored("key", b"%d" % stamp, stamp=stamp) for stamp in range(1, 50)]

    answers = await asyncio.gather(*(store.commit([entry]) for entry in reversed(entries)))

    assert {record.stamp for (record,) in answers} == {49}
    assert store.read(entries[0].digest) == entries[-1].record


async def test_close_finishes_what_was_asked_for_and_is_idempotent(store: RecordStore) -> None:
    """An orderly end answers everybody."""
    asked = [asyncio.ensure_future(store.commit([stored(f"key/{number}")])) for number in range(20)]
    await asyncio.sleep(0)
    await asyncio.gather(store.close(), store.close())
    await store.close()
    assert [len(answer) for answer in await asyncio.gather(*asked)] == [1] * 20


async def test_ten_thousand_records_are_paged_completely(store: RecordStore) -> None:
    """Every listing gives each record once."""
    entries = [stored(f"key/{number:05}", b"v", stamp=1 + number // 100) for number in range(10_000)]
    for start in range(0, len(entries), 1000):
        await store.commit(entries[start : start + 1000])

    keys: list[str] = []
    while page := store.scan("key/", after=keys[-1] if keys else ""):
        keys += [record.key for record in page]
    changed: list[StoredRecord] = list(store.changed_since(0))
    while batch := store.changed_since(changed[-1].record.stamp, after=changed[-1].digest):
        changed += batch

    assert keys == [entry.record.key for entry in entries]
    assert changed == sorted(entries, key=lambda entry: (entry.record.stamp, entry.digest))
    assert list(store.digests()) == sorted((entry.digest, entry.record.stamp) for entry in entries)
    assert (store.count(), store.usage(ALICE)) == (10_000, (10_000, 10_000))


Story = list[tuple[str, list[StoredRecord]]]

KEYS = ("", "a", "a/b", "a/é", "b")
versions = st.builds(
    lambda key, value, stamp, author, is_tombstone, expires_ms: stored(
        key,
        value,
        stamp=stamp,
        author=author,
        is_tombstone=is_tombstone,
        expires_ms=expires_ms,
        place=place_of(key or "stock"),
    ),
    st.sampled_from(KEYS),
    st.binary(max_size=3),
    st.integers(1, 4),
    st.sampled_from((ALICE, BOB)),
    st.booleans(),
    st.sampled_from((0, 5, 9)),
)
steps = st.tuples(
    st.sampled_from(("commit", "commit", "commit", "remove", "set_aside", "collected", "reopen")),
    st.lists(versions, max_size=4),
)


@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(story=st.lists(steps, max_size=12))
def test_any_story_ends_like_in_memory(tmp_path_factory: pytest.TempPathFactory, story: Story) -> None:
    """Model test: every read, and the counters, equal those of the twin, also after each restart."""
    asyncio.run(play(tmp_path_factory.mktemp("story") / "records.sqlite", story))


async def play(path: Path, story: Story) -> None:
    twin = MemoryRecordStore()
    played = 0
    while True:
        async with on_disk(path) as store:
            compare(store, twin)
            while played < len(story):
                kind, entries = story[played]
                played += 1
                if kind == "reopen":
                    break
                await step(store, twin, kind, entries)
                compare(store, twin)
            else:
                return


async def step(store: RecordStore, twin: RecordStore, kind: str, entries: list[StoredRecord]) -> None:
    if kind == "commit":
        assert await store.commit(entries) == await twin.commit(entries)
    elif kind == "remove":
        await store.remove(entries)
        await twin.remove(entries)
    elif kind == "set_aside":
        await store.set_aside(entries)
        await twin.set_aside(entries)
    else:
        for entry in entries:
            await store.raise_collected_before(entry.record.stamp)
            await twin.raise_collected_before(entry.record.stamp)


def compare(store: RecordStore, twin: RecordStore) -> None:
    """Assert that every question gets the same answer from both."""
    assert list(store.digests()) == list(twin.digests())
    for key in KEYS:
        place = place_of(key or "stock")
        assert store.read(place) == twin.read(place)
        assert pages(store, key) == pages(twin, key)
    for stamp in range(5):
        assert store.changed_since(stamp) == twin.changed_since(stamp)
        assert store.changed_since(stamp, after=place_of("a"), limit=1) == twin.changed_since(
            stamp, after=place_of("a"), limit=1
        )
    for time_ms in (4, 5, 9):
        assert {entry.digest for entry in store.expired(time_ms)} == {entry.digest for entry in twin.expired(time_ms)}
    assert [store.usage(author) for author in (ALICE, BOB)] == [twin.usage(author) for author in (ALICE, BOB)]
    assert (store.count(), store.collected_before) == (twin.count(), twin.collected_before)


def pages(store: RecordStore, prefix: str) -> list[Record]:
    return [*store.scan(prefix), *store.scan(prefix, after="a", limit=1)]
