"""What a real peer's disk holds for others: its ``records.sqlite``, read beside the peer that writes it."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from node.storage.record_tables import RecordTables
from protocol.ids import Digest
from protocol.records import Record

_BUSY_TIMEOUT_S: Final = 1.0

_T = TypeVar("_T")


class DiskRecords:
    """Opens the file anew for each question: a connection that stayed open would keep the peer from tidying up."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, digest: Digest) -> Record | None:
        """Return the version at a place; None when there is none."""
        return self._asked(lambda tables: tables.read(digest), None)

    def digests(self) -> list[tuple[Digest, int]]:
        """Return place and stamp of each record."""
        return self._asked(lambda tables: list(tables.digests()), [])

    def _asked(self, question: Callable[[RecordTables], _T], nothing: _T) -> _T:
        if not self._path.exists():
            return nothing
        with closing(sqlite3.connect(f"{self._path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S)) as file:
            try:
                return question(RecordTables(file, on_damage=_told_by_the_peer))
            except sqlite3.Error:
                return nothing  # the peer makes or mends it just now; what is missing in the end is told


def _told_by_the_peer(what: str) -> None:
    """Leave it to the peer's own alarm."""
