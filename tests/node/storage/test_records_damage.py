"""``records.sqlite`` with flipped and missing bytes: nothing is lost in silence, and nothing ends in a traceback."""

import asyncio
import logging
import random
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from node.ports import StoredRecord
from node.storage import record_file
from node.storage.records import SqliteRecordStore
from protocol.errors import StoreError
from tests.node.storage.samples import by_place, everything_in, mixed, place_of, stored, write_store

RECORDS = mixed(40)
EXPECTED = by_place(RECORDS)
HEADER_SIZE_BYTES = 100
LOG_HEADER_SIZE_BYTES = 32


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a store that was closed in order."""
    path = tmp_path_factory.mktemp("whole") / "records.sqlite"
    write_store(path, RECORDS)
    return path.read_bytes()


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """File and log of a store that was killed: all its records are still in the log."""
    path = tmp_path_factory.mktemp("killed") / "records.sqlite"
    write_store(path, RECORDS, leave_log=True)
    return path.read_bytes(), log_of(path).read_bytes()


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


def look(path: Path) -> tuple[Sequence[StoredRecord], str | None]:
    """Open the store at ``path`` and return what it holds, and what it says was damaged."""

    async def open_and_read() -> tuple[Sequence[StoredRecord], str | None]:
        store = SqliteRecordStore(path, executor=None)
        found = everything_in(store)
        assert [entry.record for entry in by_place(list(store.changed_since(0)))] == [entry.record for entry in found]
        assert store.count() == sum(not entry.record.is_tombstone for entry in found)
        await store.commit([stored("later")])
        await store.close()
        return found, str(store.damage) if store.damage else None

    return asyncio.run(open_and_read())


def assert_nothing_lost_in_silence(path: Path) -> None:
    damaged = path.read_bytes()
    try:
        found, damage = look(path)
    except StoreError as error:
        # Four bytes hold the version of the format, and a newer one is refused.
        assert "newer version" in error.cause and error.next_step
        assert path.read_bytes() == damaged
        return
    if damage is None:
        assert found == EXPECTED
    else:
        (kept_as,) = path.parent.glob(f"{path.name}.damaged-*")
        assert str(kept_as) in damage
        assert kept_as.stat().st_size
        assert all(entry in EXPECTED for entry in found)


def flipped(content: bytes, position: int, mask: int) -> bytes:
    damaged = bytearray(content)
    damaged[position] ^= mask
    return bytes(damaged)


@pytest.mark.parametrize("part", range(4))
def test_any_flipped_byte_is_harmless_or_told(tmp_path: Path, whole: bytes, part: int) -> None:
    """The header, and places all over the file; what is whole is saved into a new file."""
    draw = random.Random(part)
    positions = [*range(part, HEADER_SIZE_BYTES, 4), *(draw.randrange(len(whole)) for _ in range(60))]
    for position in positions:
        path = tmp_path / str(position) / "records.sqlite"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(flipped(whole, position, draw.choice((0x01, 0x10, 0x80, 0xFF))))
        assert_nothing_lost_in_silence(path)


def test_file_cut_anywhere_is_told(tmp_path: Path, whole: bytes) -> None:
    """Also one cut to nothing, which SQLite takes for a new database."""
    for length in (0, 1, HEADER_SIZE_BYTES, 4096, *range(5000, len(whole), 15_013), len(whole) - 1):
        path = tmp_path / str(length) / "records.sqlite"
        path.parent.mkdir()
        path.write_bytes(whole[:length])

        found, damage = look(path)

        assert damage is not None and (length == 0 or list(path.parent.glob("*.damaged-*")))
        assert all(entry in EXPECTED for entry in found)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"no database at all",
        lambda content: bytes(len(content)),
        lambda content: content[4096:],
        lambda content: content[:4096] + bytes(4096) + content[8192:],
    ],
)
def test_grossly_damaged_file_is_kept_and_told(
    tmp_path: Path, whole: bytes, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """The message says where the file is and what happens next, and the second start is quiet."""
    path = tmp_path / "records.sqlite"
    path.write_bytes(damage(whole))

    with caplog.at_level(logging.ERROR):
        _, told = look(path)

    assert told is not None and "other peers send the rest again" in told
    assert "is damaged" in caplog.text
    assert len(list(tmp_path.glob("records.sqlite.damaged-*"))) == 1
    assert look(path)[1] is None


def test_one_bad_value_costs_one_record(tmp_path: Path, whole: bytes) -> None:
    """Everything else is saved."""
    victim = next(entry for entry in RECORDS if len(entry.record.value) > 100)
    path = tmp_path / "records.sqlite"
    path.write_bytes(flipped(whole, whole.index(victim.record.value[:32]) + 5, 0x01))

    found, damage = look(path)

    assert damage is not None and "39 records were saved" in damage
    assert found == [entry for entry in EXPECTED if entry != victim]


def test_stamp_of_collected_tombstones_is_saved(tmp_path: Path) -> None:
    """A peer that forgot it would bring back what others deleted."""
    path = tmp_path / "records.sqlite"

    async def write() -> None:
        store = SqliteRecordStore(path, executor=None)
        await store.commit(RECORDS)
        await store.raise_collected_before(77)
        await store.close()

    async def read() -> int:
        store = SqliteRecordStore(path, executor=None)
        await store.close()
        assert store.damage is not None
        return store.collected_before

    asyncio.run(write())
    content = path.read_bytes()
    path.write_bytes(flipped(content, content.index(RECORDS[0].record.value), 0x01))
    assert asyncio.run(read()) == 77


def test_flipped_byte_in_the_log_is_told(tmp_path: Path, killed: tuple[bytes, bytes]) -> None:
    """SQLite would drop every later commit without a word; only the last commit cannot be told from one cut short."""
    content, log = killed
    draw = random.Random(1)
    for number in range(40):
        path = tmp_path / str(number) / "records.sqlite"
        path.parent.mkdir()
        path.write_bytes(content)
        position = number if number < LOG_HEADER_SIZE_BYTES else draw.randrange(len(log))
        log_of(path).write_bytes(flipped(log, position, 0x10))

        found, damage = look(path)

        assert all(entry in EXPECTED for entry in found)
        if damage is None:
            assert len(found) >= len(EXPECTED) - 1
        else:
            assert "log" in damage
            assert list(path.parent.glob("records.sqlite-wal.damaged-*"))


def test_log_of_a_killed_peer_is_no_damage(tmp_path: Path, killed: tuple[bytes, bytes]) -> None:
    """Nor is one whose last commit was cut short."""
    content, log = killed
    for length, missing_max in ((len(log), 0), (len(log) - 1, 1), (len(log) - 5000, 1)):
        path = tmp_path / str(length) / "records.sqlite"
        path.parent.mkdir()
        path.write_bytes(content)
        log_of(path).write_bytes(log[:length])

        found, damage = look(path)

        assert damage is None
        assert len(found) >= len(EXPECTED) - missing_max


def test_log_without_its_file_is_not_taken_for_the_new_ones(tmp_path: Path, killed: tuple[bytes, bytes]) -> None:
    """A log says nothing of which file it belongs to."""
    path = tmp_path / "records.sqlite"
    log_of(path).write_bytes(killed[1])

    assert look(path) == ([], None)
    (kept_as,) = tmp_path.glob("records.sqlite-wal.damaged-*")
    assert kept_as.read_bytes() == killed[1]


def test_newer_format_is_refused_and_kept(tmp_path: Path, whole: bytes) -> None:
    """An older program must not spoil what a newer one wrote."""
    path = tmp_path / "records.sqlite"
    path.write_bytes(whole)
    with sqlite3.connect(path) as connection:
        connection.execute(f"PRAGMA user_version = {record_file.FORMAT_VERSION + 1}")
    connection.close()
    before = path.read_bytes()

    with pytest.raises(StoreError, match="newer version") as caught:
        look(path)

    assert caught.value.next_step
    assert path.read_bytes() == before


def test_what_is_in_the_way_is_a_clear_error(tmp_path: Path) -> None:
    """A folder is no damaged file, and is not set aside."""
    (tmp_path / "records.sqlite").mkdir()

    with pytest.raises(StoreError) as caught:
        look(tmp_path / "records.sqlite")
    with pytest.raises(StoreError):
        look(tmp_path / "none" / "records.sqlite")

    assert caught.value.next_step
    assert (tmp_path / "records.sqlite").is_dir()


async def test_damage_met_while_running_is_told_and_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large file is not read whole at the start: a bad record in it counts as absent until another peer sends it."""
    monkeypatch.setattr(record_file, "CHECKED_SIZE_MAX_BYTES", 0)
    path = tmp_path / "records.sqlite"
    victim = stored("victim", b"precious" * 10)
    store = SqliteRecordStore(path, executor=None)
    await store.commit([victim, stored("other")])
    await store.close()
    content = path.read_bytes()
    path.write_bytes(flipped(content, content.index(b"precious"), 0x01))
    store = SqliteRecordStore(path, executor=None)
    assert store.damage is None

    with caplog.at_level(logging.ERROR):
        assert store.read(victim.digest) is None
        assert [record.key for record in store.scan("")] == ["other"]

    assert victim.digest.hex() in caplog.text and "restart" in caplog.text
    assert path.with_name("records.sqlite.suspect").exists()
    assert await store.commit([victim]) == [victim.record]
    assert store.read(victim.digest) == victim.record
    await store.close()


async def test_suspected_file_is_read_whole_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage that was met once is not met again."""
    path = tmp_path / "records.sqlite"
    store = SqliteRecordStore(path, executor=None)
    await store.commit([stored("victim", b"precious" * 10), stored("other")])
    await store.close()
    content = path.read_bytes()
    path.write_bytes(flipped(content, content.index(b"precious"), 0x01))
    monkeypatch.setattr(record_file, "CHECKED_SIZE_MAX_BYTES", 0)
    record_file.suspect(path)

    store = SqliteRecordStore(path, executor=None)

    assert store.damage is not None and store.damage.saved == 1
    assert (store.read(place_of("victim")), store.count()) == (None, 1)
    await store.close()
    assert not path.with_name("records.sqlite.suspect").exists()


async def test_structure_damaged_while_running_is_an_error_of_ours(tmp_path: Path) -> None:
    """A page that cannot be read is a refusal, not an empty answer."""
    path = tmp_path / "records.sqlite"
    store = SqliteRecordStore(path, executor=None)
    for entry in mixed(200):
        await store.commit([entry])
    await store.close()
    store = SqliteRecordStore(path, executor=None)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))

    with pytest.raises(StoreError, match="cannot read") as caught:
        store.scan("")
    with pytest.raises(StoreError, match="cannot write"):
        await store.commit([stored("key/1", stamp=10**6)])

    assert "restart" in caught.value.next_step
    path.write_bytes(content)
    await store.close()


async def test_closed_store_says_so(tmp_path: Path) -> None:
    """What comes too late is refused with our own error."""
    store = SqliteRecordStore(tmp_path / "records.sqlite", executor=None)
    await store.close()

    with pytest.raises(StoreError, match="closed"):
        store.read(place_of("key"))
    with pytest.raises(StoreError, match="closed"):
        await store.commit([stored("key")])
