"""The tables of ``records.sqlite``, as plain calls on one connection: no threads, no transactions of their own.

    records     one row for each place: the newest version, with a checksum, and the columns it is looked up by
    set_aside   versions that must not be found any more, kept for a person
    usage       records and bytes of each writer; kept by triggers, so it is right after any crash
    totals      live values; kept by triggers as well
    facts       numbers of the store itself, each with a checksum

SQLite finds a damaged page only when it reads it, and a flipped bit inside a value never. So each row carries a
checksum; a row that is not whole counts as absent and is told, and a newer copy from another peer replaces it.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any, Final

from node.ports import StoredRecord
from node.storage.record_rows import (
    COLUMNS,
    DECLARED,
    fact_checksum,
    is_whole,
    record_in,
    row_of,
)
from node.storage.sqlite_errors import SQLITE_ERRORS
from protocol.ids import Digest
from protocol.records import Record, newest

PAGE_SIZE_MAX_BYTES: Final = 2**23
"""A page of an answer ends with the record whose value passes this sum."""

SET_ASIDE_RECORDS_MAX: Final = 10_000
"""Beyond it the first set aside are forgotten: they were superseded everywhere else long before."""

_DIGESTS_PAGE: Final = 1000
_AFTER_ALL_DIGESTS: Final = b"\xff" * 21
_COLLECTED_BEFORE: Final = "collected_before"

SCHEMA: Final = (
    f"CREATE TABLE records (id INTEGER PRIMARY KEY, {DECLARED}, UNIQUE (digest))",
    "CREATE INDEX by_stamp ON records (stamp, digest)",
    "CREATE INDEX by_key ON records (key) WHERE key <> ''",
    "CREATE INDEX by_expiry ON records (expires_ms) WHERE expires_ms <> 0",
    f"CREATE TABLE set_aside (id INTEGER PRIMARY KEY AUTOINCREMENT, {DECLARED})",
    "CREATE TABLE usage (author BLOB PRIMARY KEY, records INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE totals (live INTEGER NOT NULL)",
    "INSERT INTO totals VALUES (0)",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value INTEGER NOT NULL, checksum INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TRIGGER record_added AFTER INSERT ON records BEGIN
        INSERT INTO usage VALUES (new.author, 1, new.size)
            ON CONFLICT (author) DO UPDATE SET records = records + 1, bytes = bytes + new.size;
        UPDATE totals SET live = live + 1 WHERE new.kind = 'value';
    END""",
    """CREATE TRIGGER record_removed AFTER DELETE ON records BEGIN
        UPDATE usage SET records = records - 1, bytes = bytes - old.size WHERE author = old.author;
        DELETE FROM usage WHERE author = old.author AND records = 0;
        UPDATE totals SET live = live - 1 WHERE old.kind = 'value';
    END""",
)


class RecordTables:
    """Reads and writes through one connection. Every method may raise ``SqliteError``."""

    def __init__(self, connection: sqlite3.Connection, *, on_damage: Callable[[str], None]) -> None:
        """Use ``connection``; ``on_damage`` is told of each row that turns out not to be whole."""
        self._connection = connection
        self._on_damage = on_damage

    # Reading

    def read(self, digest: Digest) -> Record | None:
        """Return the stored version, or None when there is none or it is not whole."""
        row = self._one("SELECT digest, checksum, record FROM records WHERE digest = ?", digest)
        return self._record_in(*row) if row is not None else None

    def digests(self) -> Iterator[tuple[Digest, int]]:
        """Return place and stamp of every record, ascending by place; no transaction stays open in between."""
        last: Any = b""
        while True:
            page = self._connection.execute(
                "SELECT digest, stamp FROM records WHERE digest > ? ORDER BY digest LIMIT ?", (last, _DIGESTS_PAGE)
            ).fetchall()
            if not page:
                return
            yield from page
            last = page[-1][0]

    def scan(self, prefix: str, *, after: str, limit: int) -> list[Record]:
        """Return records by key; see ``node.ports.RecordStore``."""
        rows = self._connection.execute(
            "SELECT key, digest, checksum, record FROM records"
            " WHERE key <> '' AND key >= ? AND key <> ? ORDER BY key",
            (max(prefix, after), after),
        )
        with closing(rows):
            found = (row[1:] for row in _while_prefixed(rows, prefix))
            return [stored.record for stored in self._page(found, limit)]

    def changed_since(self, stamp: int, *, after: Digest | None, limit: int) -> list[StoredRecord]:
        """Return records by stamp and place; see ``node.ports.RecordStore``."""
        rows = self._connection.execute(
            "SELECT digest, checksum, record FROM records WHERE (stamp, digest) > (?, ?) ORDER BY stamp, digest",
            (stamp, _AFTER_ALL_DIGESTS if after is None else after),
        )
        with closing(rows):
            return self._page(rows, limit)

    def expired(self, network_time_ms: int, *, limit: int) -> list[StoredRecord]:
        """Return records whose time is over; see ``node.ports.RecordStore``."""
        rows = self._connection.execute(
            "SELECT digest, checksum, record FROM records"
            " WHERE expires_ms <> 0 AND expires_ms <= ? ORDER BY expires_ms",
            (network_time_ms,),
        )
        with closing(rows):
            return self._page(rows, limit)

    def usage(self, author_key: bytes) -> tuple[int, int]:
        """Return records and bytes of one writer."""
        row = self._one("SELECT records, bytes FROM usage WHERE author = ?", author_key)
        return (row[0], row[1]) if row is not None else (0, 0)

    def count(self) -> int:
        """Return the number of live values."""
        row = self._one("SELECT live FROM totals")
        assert row is not None, "the table is made with its row"
        live: int = row[0]
        return live

    def collected_before(self) -> int | None:
        """Return the stored stamp, 0 before the first; None when it is not whole."""
        row = self._one("SELECT value, checksum FROM facts WHERE name = ?", _COLLECTED_BEFORE)
        if row is None:
            return 0
        stamp, checksum = row
        return stamp if checksum == fact_checksum(stamp) else None

    # Writing

    def store(self, stored: StoredRecord) -> Record:
        """Store a record unless a newer version is there; return the version now stored."""
        current = self.read(stored.digest)
        winner = newest(current, stored.record)
        assert winner is not None, "one of the two is a record"
        if winner is not current:
            self._delete(stored.digest)
            self._connection.execute(
                f"INSERT INTO records ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row_of(stored)
            )
        return winner

    def remove(self, versions: Sequence[StoredRecord]) -> None:
        """Forget exactly these versions."""
        for stored in versions:
            if self._holds(stored):
                self._delete(stored.digest)

    def set_aside(self, versions: Sequence[StoredRecord]) -> None:
        """Move exactly these versions to the table ``set_aside``."""
        for stored in versions:
            if self._holds(stored):
                self._set_one_aside(stored)

    def raise_collected_before(self, stamp: int) -> int:
        """Store ``stamp`` unless a higher one is there; return what is there now."""
        highest = max(stamp, self.collected_before() or 0)
        self._connection.execute(
            "INSERT OR REPLACE INTO facts VALUES (?, ?, ?)", (_COLLECTED_BEFORE, highest, fact_checksum(highest))
        )
        return highest

    # Checking

    def create(self) -> None:
        """Make the tables."""
        for statement in SCHEMA:
            self._connection.execute(statement)

    def find_damage(self) -> str | None:
        """Read everything; return what is not as this program wrote it, or None."""
        found = self._one("PRAGMA integrity_check(1)")
        if found != ("ok",):
            return str(found[0]) if found is not None else "the check says nothing"
        for identifier, *row in self._connection.execute(f"SELECT id, {COLUMNS} FROM records ORDER BY id"):
            if not is_whole(tuple(row)):
                return f"row {identifier} is not whole"
        if self.collected_before() is None:
            return "its facts are not whole"
        if not self._counters_are_right():
            return "its counters are wrong"
        return None

    def salvage(self) -> Iterator[StoredRecord]:
        """Return every record that can still be read, from both ends of the table until something is in the way."""
        for direction in ("ASC", "DESC"):
            rows = self._connection.execute(f"SELECT {COLUMNS} FROM records NOT INDEXED ORDER BY id {direction}")
            with closing(rows):
                while True:
                    try:
                        row = rows.fetchone()
                    except SQLITE_ERRORS:
                        break
                    if row is None:
                        return  # the whole table was read
                    record = record_in(row[0], *row[-2:]) if is_whole(row) else None
                    if record is not None:
                        yield StoredRecord(Digest(row[0]), record)

    # Parts

    def _one(self, statement: str, *arguments: object) -> tuple[Any, ...] | None:
        row: tuple[Any, ...] | None = self._connection.execute(statement, arguments).fetchone()
        return row

    def _page(self, rows: Iterable[Sequence[Any]], limit: int) -> list[StoredRecord]:
        page: list[StoredRecord] = []
        size_bytes = 0
        for digest, checksum, encoded in rows:
            if len(page) >= limit or size_bytes >= PAGE_SIZE_MAX_BYTES:
                break
            record = self._record_in(digest, checksum, encoded)
            if record is not None:
                page.append(StoredRecord(digest, record))
                size_bytes += len(record.value)
        return page

    def _record_in(self, digest: bytes, checksum: int, encoded: bytes) -> Record | None:
        record = record_in(digest, checksum, encoded)
        if record is None:
            self._on_damage(f"the record at {digest.hex()} is not whole")
        return record

    def _holds(self, stored: StoredRecord) -> bool:
        current = self.read(stored.digest)
        return current is not None and current.order == stored.record.order

    def _set_one_aside(self, stored: StoredRecord) -> None:
        cursor = self._connection.execute(
            f"INSERT INTO set_aside ({COLUMNS}) SELECT {COLUMNS} FROM records WHERE digest = ?", (stored.digest,)
        )
        assert cursor.lastrowid is not None, "a row was inserted"
        self._connection.execute("DELETE FROM set_aside WHERE id <= ?", (cursor.lastrowid - SET_ASIDE_RECORDS_MAX,))
        self._delete(stored.digest)

    def _delete(self, digest: Digest) -> None:
        self._connection.execute("DELETE FROM records WHERE digest = ?", (digest,))

    def _counters_are_right(self) -> bool:
        counted = self._connection.execute(
            "SELECT author, count(*), sum(size) FROM records GROUP BY author ORDER BY author"
        ).fetchall()
        kept = self._connection.execute("SELECT author, records, bytes FROM usage ORDER BY author").fetchall()
        live = self._one("SELECT count(*) FROM records WHERE kind = 'value'")
        return counted == kept and live == (self.count(),)


def _while_prefixed(rows: Iterable[Sequence[Any]], prefix: str) -> Iterator[Sequence[Any]]:
    """Return rows as long as their first column starts with ``prefix``; they ascend by it."""
    for row in rows:
        if not row[0].startswith(prefix):
            return
        yield row
