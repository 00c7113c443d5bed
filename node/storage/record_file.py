"""Opens ``records.sqlite``: makes it, checks it, and saves what can be read from a damaged one.

A file is only ever made under another name, whole and synced, and then renamed: one that has the name and lacks
its tables is damaged, however it looks. A damaged file is kept (``records.sqlite.damaged-<time>``); what is whole in
it goes into a new one, and the other holders of the rest fill it up again.
"""

import logging
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bootstrap.files import os_errors, set_aside, sync_folder
from node.storage.record_tables import RecordTables
from node.storage.sqlite_errors import SQLITE_ERRORS, is_damage, sqlite_errors
from node.storage.write_ahead import WriteAheadLog
from protocol.errors import StoreError

FORMAT_VERSION: Final = 1
"""Kept as ``user_version``; an older program refuses a newer file."""

CHECKED_SIZE_MAX_BYTES: Final = 2**24
"""Files up to 16 MiB are read whole at each start, some 100 ms; a larger one after damage was met in it."""

_CACHE_SIZE_KIB: Final = 512
"""For each of two connections; a transaction that needs more writes its pages early."""

_LOG_SIZE_PAGES: Final = 512
"""The log is carried over into the file when it is this long, 2 MiB, and then written from its start again."""

_LOG_SIZE_MAX_BYTES: Final = 2**22
"""What a large transaction made the log grow to is cut to this."""

_BUSY_TIMEOUT_S: Final = 0.25
"""Patience with a person who looks into the file while the peer runs; it holds the event loop."""

_COMPANIONS: Final = ("-wal", "-shm", "-journal")
_SUSPICION_ENDING: Final = ".suspect"

_log = logging.getLogger("pair.storage")


@dataclass(frozen=True, slots=True)
class DamagedRecords:
    """A file that was not whole; the store goes on with what could be saved from it."""

    reason: str
    kept_as: Path
    saved: int
    """Records that could be read and are in the new file."""

    def __str__(self) -> str:
        return (
            f"records.sqlite was damaged ({self.reason}) and is kept as {self.kept_as}; {self.saved} records were"
            " saved from it, and other peers send the rest again"
        )


def open_file(path: Path) -> DamagedRecords | None:
    """Make sure that a whole file is at ``path``; return what happened to a damaged one.

    Raises:
        StoreError: It cannot be read or written, or a newer version of this program wrote it.
    """
    suspicion = _suspicion_of(path)
    if not path.exists():
        _set_orphans_aside(path)
        _create(path, lambda tables: 0)
        return None
    reason = _find_damage(path, is_suspect=suspicion.exists())
    damaged = _replace(path, reason) if reason is not None else None
    with os_errors(f"remove {suspicion}"):
        suspicion.unlink(missing_ok=True)
    return damaged


def suspect(path: Path) -> None:
    """Have the next start read the whole file, however large."""
    with suppress(OSError):  # a disk that fails so has told it already
        _suspicion_of(path).touch(mode=0o600)


def connect(path: Path) -> sqlite3.Connection:
    """Open a connection for transactions that are durable when they end. It may move between threads.

    Raises:
        SqliteError: It cannot be opened, or is no database.
    """
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        for setting in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "fullfsync = ON",  # macOS: a plain fsync there stops at the disk's own cache
            "checkpoint_fullfsync = ON",
            "secure_delete = FAST",
            "trusted_schema = OFF",
            f"cache_size = -{_CACHE_SIZE_KIB}",
            f"wal_autocheckpoint = {_LOG_SIZE_PAGES}",
            f"journal_size_limit = {_LOG_SIZE_MAX_BYTES}",
        ):
            connection.execute(f"PRAGMA {setting}")
    except BaseException:
        connection.close()
        raise
    return connection


def _suspicion_of(path: Path) -> Path:
    return path.with_name(path.name + _SUSPICION_ENDING)


def _find_damage(path: Path, *, is_suspect: bool) -> str | None:
    """Return what is wrong with the content of the file, or None."""
    with os_errors(f"open {path}"):
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
        size_bytes = path.stat().st_size
        log = WriteAheadLog(path.with_name(path.name + "-wal"))
    if size_bytes == 0:
        return "it is empty"
    try:
        with closing(connect(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > FORMAT_VERSION:
                raise StoreError(
                    f"{path} was written by a newer version of this program",
                    next_step="install that version again, or move the file away",
                )
            if version < FORMAT_VERSION:
                return "it has no version"
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("UPDATE totals SET live = live")  # refused when a bad header forbids to write
            connection.execute("ROLLBACK")
            log_damage = _find_log_damage(log, connection, path)
            if log_damage is not None:
                return log_damage
            tables = RecordTables(connection, on_damage=_told_elsewhere)
            if is_suspect or size_bytes <= CHECKED_SIZE_MAX_BYTES:
                return tables.find_damage()
            tables.count()
    except SQLITE_ERRORS as error:
        if is_damage(error):
            return str(error)
        with sqlite_errors(path, f"open {path}"):
            raise
    return None


def _find_log_damage(log: WriteAheadLog, connection: sqlite3.Connection, path: Path) -> str | None:
    _, valid_frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    with os_errors(f"read the log of {path}"):
        damage = log.find_damage(max(valid_frames, 0))
        if damage is not None:
            log.keep()
    return damage


def _replace(path: Path, reason: str) -> DamagedRecords:
    """Put a new file with what can be saved from ``path`` in its place."""
    _log.error("%s is damaged: %s", path, reason)
    new = _new_of(path)
    saved = _build(new, lambda tables: _salvage(path, tables))
    kept_as = set_aside(path, companions=_COMPANIONS)
    with os_errors(f"create {path}"):
        new.rename(path)
    sync_folder(path.parent)
    return DamagedRecords(reason=reason, kept_as=kept_as, saved=saved)


def _salvage(damaged: Path, tables: RecordTables) -> int:
    """Copy what is whole in ``damaged``; return how many records that is."""
    saved = 0
    try:
        with closing(sqlite3.connect(damaged, timeout=_BUSY_TIMEOUT_S, isolation_level=None)) as connection:
            source = RecordTables(connection, on_damage=_told_elsewhere)
            stamp = source.collected_before()
            if stamp is not None:
                tables.raise_collected_before(stamp)
            for stored in source.salvage():
                tables.store(stored)
                saved += 1
    except SQLITE_ERRORS as error:
        if not is_damage(error):
            raise
    return saved


def _create(path: Path, fill: Callable[[RecordTables], int]) -> None:
    new = _new_of(path)
    _build(new, fill)
    with os_errors(f"create {path}"):
        new.rename(path)
    sync_folder(path.parent)


def _build(new: Path, fill: Callable[[RecordTables], int]) -> int:
    """Make a whole and synced file; return what ``fill`` returns."""
    with os_errors(f"create {new}"):
        for ending in ("", *_COMPANIONS):  # left behind by a process that was killed
            new.with_name(new.name + ending).unlink(missing_ok=True)
        descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with sqlite_errors(new, f"create {new}"):
                filled = _write_tables(new, fill)
            os.fsync(descriptor)
        except BaseException:
            new.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
    return filled


def _write_tables(new: Path, fill: Callable[[RecordTables], int]) -> int:
    with closing(sqlite3.connect(new, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")  # nobody looks at it before it is whole and synced
        connection.execute("PRAGMA journal_mode = MEMORY")
        connection.execute("BEGIN IMMEDIATE")
        tables = RecordTables(connection, on_damage=_told_elsewhere)
        tables.create()
        filled = fill(tables)
        connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    return filled


def _set_orphans_aside(path: Path) -> None:
    """Keep a log without its file from being carried over into a new file."""
    for ending in _COMPANIONS:
        orphan = path.with_name(path.name + ending)
        if orphan.exists():
            _log.warning("%s has lost its file and is kept as %s", orphan, set_aside(orphan))


def _new_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _told_elsewhere(damage: str) -> None:
    """Say nothing: the file is being checked or saved as a whole, and that is told."""
