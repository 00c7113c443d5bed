"""Records for the tests of storage; nobody checks their signatures here."""

import asyncio
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

from node.ports import StoredRecord
from node.storage.records import SqliteRecordStore
from protocol.ids import Digest, key_digest
from protocol.records import Record

ALICE = hashlib.sha256(b"alice").digest()
BOB = hashlib.sha256(b"bob").digest()


def place_of(key: str) -> Digest:
    return key_digest(key, open_network=False)


def stored(
    key: str,
    value: bytes = b"value",
    *,
    stamp: int = 1,
    author: bytes = ALICE,
    is_tombstone: bool = False,
    expires_ms: int = 0,
    place: Digest | None = None,
) -> StoredRecord:
    record = Record(
        author_key=author,
        key=key,
        is_tombstone=is_tombstone,
        value=b"" if is_tombstone else value,
        stamp=stamp,
        expires_ms=expires_ms,
        signature=hashlib.sha512(key.encode() + value).digest(),
    )
    return StoredRecord(place_of(key) if place is None else place, record)


def mixed(count: int) -> list[StoredRecord]:
    """Return records of two writers, of all sizes up to several pages, with tombstones and expiries among them."""
    return [
        stored(
            f"key/{number}",
            hashlib.sha256(b"%d" % number).digest() * (number % 7 * 50 + 1),
            stamp=1 + number // 3,
            author=(ALICE, BOB)[number % 2],
            is_tombstone=number % 11 == 10,
            expires_ms=1000 * number if number % 5 == 4 else 0,
        )
        for number in range(count)
    ]


def everything_in(store: SqliteRecordStore) -> list[StoredRecord]:
    """Return all records by place, read one by one."""
    found = []
    for digest, stamp in store.digests():
        record = store.read(digest)
        assert record is not None and record.stamp == stamp
        found.append(StoredRecord(digest, record))
    return found


def by_place(records: Sequence[StoredRecord]) -> list[StoredRecord]:
    return sorted(records, key=lambda entry: entry.digest)


def write_store(path: Path, records: Sequence[StoredRecord], *, leave_log: bool = False) -> None:
    """Make a store with ``records``, one transaction each; with ``leave_log`` as after a kill, not closed."""

    async def write(at: Path) -> None:
        store = SqliteRecordStore(at, executor=None)
        for entry in records:
            await store.commit([entry])
        if leave_log:
            for ending in ("", "-wal"):
                shutil.copy(at.with_name(at.name + ending), path.with_name(path.name + ending))
        await store.close()

    asyncio.run(write(path.with_name("closed.sqlite") if leave_log else path))
