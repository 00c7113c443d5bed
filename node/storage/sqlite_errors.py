"""What SQLite says, as our own errors; and which of it means that the file itself is damaged."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from protocol.errors import DiskFull, StoreError

_SPACE_MIN_BYTES: Final = 2**16
"""With less free, an I/O error counts as a full disk: SQLite reports some of them so (its shared index, for one)."""

_BASE: Final = 0xFF
"""An extended code holds its base code in the lowest byte."""

SqliteError: TypeAlias = sqlite3.Error | UnicodeDecodeError
"""What may come from SQLite: its module fails to decode a message that quotes a damaged schema."""

SQLITE_ERRORS: Final = (sqlite3.Error, UnicodeDecodeError)
"""The same, to catch it."""

_OF_THE_MACHINE: Final = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_AUTH,
        sqlite3.SQLITE_INTERRUPT,
    }
)
"""The machine does not allow it just now; the file may be whole."""


def is_damage(error: SqliteError) -> bool:
    """Return whether ``error`` says something about the content of the file, rather than about the machine."""
    return _code_of(error) not in _OF_THE_MACHINE


@contextmanager
def sqlite_errors(path: Path, doing: str) -> Iterator[None]:
    """Turn an error of SQLite in the block into a ``StoreError``; ``doing`` completes "cannot …"."""
    try:
        yield
    except SQLITE_ERRORS as error:
        raise store_error_of(error, path, doing) from error


def store_error_of(error: SqliteError, path: Path, doing: str) -> StoreError:
    """Return our error for ``error``, met while ``doing`` something with the database at ``path``."""
    code = _code_of(error)
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path)):
        return DiskFull(f"cannot {doing}: the disk is full", next_step="free some space and try again")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        step = f"close the program that has {path.name} open"
    elif is_damage(error):
        step = "restart the peer: it sets the damaged file aside, keeps what is readable and gets the rest from others"
    else:
        step = "check the disk, or set PAIR_HOME to another folder"
    return StoreError(f"cannot {doing}: {error}", next_step=step)


def _code_of(error: SqliteError) -> int:
    """Return the base code; errors that the module raises by itself have none and count as plain errors."""
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _BASE


def _is_full(path: Path) -> bool:
    try:
        space = os.statvfs(path.parent)
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < _SPACE_MIN_BYTES
