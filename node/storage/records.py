"""The record store of a peer: ``node.ports.RecordStore`` on SQLite.

In WAL mode with full synchronisation a commit is on the disk when it returns. A second connection answers reads
from what is committed, so that no read waits for a write.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from node.ports import StoredRecord
from node.storage.group_commit import GroupCommit
from node.storage.record_file import DamagedRecords, connect, open_file, suspect
from node.storage.record_tables import RecordTables
from node.storage.space import check_space
from node.storage.sqlite_errors import SQLITE_ERRORS, is_damage, sqlite_errors, store_error_of
from protocol.errors import StoreError
from protocol.ids import Digest
from protocol.records import Record

_ROW_WEIGHT_BYTES: Final = 2048
"""What a row costs beside its value, in the currency of ``GroupCommit``."""

_log = logging.getLogger("pair.storage")


class SqliteRecordStore:
    """Implements ``node.ports.RecordStore``; its reads raise ``StoreError`` when the disk fails.

    The file belongs to this process: the caller holds the lock of its folder.
    """

    def __init__(self, path: Path, *, executor: Executor | None) -> None:
        """Open the store at ``path``, or make it.

        Args:
            executor: Waits for the disk, in one thread. Without one the event loop does (for virtual time).

        Raises:
            StoreError: It cannot be read or written, or a newer version of this program wrote it.
        """
        self.path: Final = path
        self.damage: Final[DamagedRecords | None] = open_file(path)
        """What was found at the start and set aside."""

        self._executor = executor
        self._is_suspect = False
        self._closed = False
        self._writer, self._reader = _connect_twice(path)
        self._writing = RecordTables(self._writer, on_damage=self._damage_met)
        self._reading = RecordTables(self._reader, on_damage=self._damage_met)
        self._group = GroupCommit(self._writer, path, executor=executor)
        self._collected_before = self._stored_collected_before()

    @property
    def commit_count(self) -> int:
        """Transactions since the start; less than the calls that asked for one when they came together."""
        return self._group.commit_count

    def read(self, digest: Digest) -> Record | None:
        with self._sqlite_read():
            return self._reading.read(digest)

    async def commit(self, records: Sequence[StoredRecord]) -> Sequence[Record]:
        if not records:
            return []
        if not all(stored.record.is_tombstone for stored in records):
            check_space(self.path.parent)
        return await self._group.run(
            lambda: [self._writing.store(stored) for stored in records], weight_bytes=_weight_bytes(records)
        )

    async def remove(self, versions: Sequence[StoredRecord]) -> None:
        if versions:
            await self._group.run(lambda: self._writing.remove(versions), weight_bytes=_weight_bytes(versions))

    async def set_aside(self, versions: Sequence[StoredRecord]) -> None:
        if versions:
            await self._group.run(lambda: self._writing.set_aside(versions), weight_bytes=_weight_bytes(versions))

    def digests(self) -> Iterable[tuple[Digest, int]]:
        with self._sqlite_read():
            yield from self._reading.digests()

    def scan(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Record]:
        with self._sqlite_read():
            return self._reading.scan(prefix, after=after, limit=limit)

    def changed_since(self, stamp: int, *, after: Digest | None = None, limit: int = 1000) -> Sequence[StoredRecord]:
        with self._sqlite_read():
            return self._reading.changed_since(stamp, after=after, limit=limit)

    def expired(self, network_time_ms: int, *, limit: int = 1000) -> Sequence[StoredRecord]:
        with self._sqlite_read():
            return self._reading.expired(network_time_ms, limit=limit)

    def usage(self, author_key: bytes) -> tuple[int, int]:
        with self._sqlite_read():
            return self._reading.usage(author_key)

    def count(self) -> int:
        with self._sqlite_read():
            return self._reading.count()

    @property
    def collected_before(self) -> int:
        return self._collected_before

    async def raise_collected_before(self, stamp: int) -> None:
        if stamp > self._collected_before:
            stored = await self._group.run(
                lambda: self._writing.raise_collected_before(stamp), weight_bytes=_ROW_WEIGHT_BYTES
            )
            self._collected_before = max(stored, self._collected_before)

    async def close(self) -> None:
        """Finish what was asked for and close. Idempotent."""
        await self._group.close()
        if not self._closed:
            self._closed = True
            self._reader.close()
            # The last connection carries the log over into the file, and waits for the disk.
            if self._executor is None:
                self._writer.close()
            else:
                await asyncio.get_running_loop().run_in_executor(self._executor, self._writer.close)

    def _stored_collected_before(self) -> int:
        with self._sqlite_read():
            stamp = self._reading.collected_before()
        if stamp is None:
            self._damage_met("its facts are not whole")
        return stamp or 0

    @contextmanager
    def _sqlite_read(self) -> Iterator[None]:
        try:
            yield
        except SQLITE_ERRORS as error:
            if self._closed:
                raise StoreError(f"{self.path.name} is closed", next_step="ask another peer") from error
            if is_damage(error):
                self._damage_met(str(error))
            raise store_error_of(error, self.path, f"read {self.path}") from error

    def _damage_met(self, damage: str) -> None:
        """Tell of damage that showed up while the peer runs, and have the next start look at all of the file."""
        if self._is_suspect:
            return  # told before: what others ask for must not fill the log
        self._is_suspect = True
        _log.error("%s is damaged: %s; restart the peer, which then saves what is whole", self.path, damage)
        suspect(self.path)


def _connect_twice(path: Path) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    with sqlite_errors(path, f"open {path}"), ExitStack() as opened:
        connections = opened.enter_context(closing(connect(path))), opened.enter_context(closing(connect(path)))
        opened.pop_all()
        return connections


def _weight_bytes(records: Sequence[StoredRecord]) -> int:
    return sum(_ROW_WEIGHT_BYTES + len(stored.record.value) for stored in records)
