"""Tells whether acknowledged commits are lost in the log of a database.

SQLite takes the log (``-wal``, https://www.sqlite.org/walformat.html) up to the first frame whose checksum does not
hold for its end, since a commit that was cut short looks like that. Damage further ahead looks the same, and would
drop every commit behind it without a word. But a commit is begun after the one before has reached the disk: behind
a true end there is at most one, which nobody was told of.
"""

import os
import struct
from pathlib import Path
from typing import Final

_HEADER_SIZE_BYTES: Final = 32
_FRAME_HEADER_SIZE_BYTES: Final = 24
_MAGIC: Final = 0x377F0682
"""The lowest bit says in which byte order the checksums are computed."""

_UNACKNOWLEDGED_MAX: Final = 1


class WriteAheadLog:
    """The bytes of a log as they were before anybody opened its database."""

    def __init__(self, path: Path) -> None:
        """Read the log at ``path``, which may be missing.

        Raises:
            OSError: It cannot be read.
        """
        self._path = path
        try:
            with path.open("rb") as file:
                self._header = file.read(_HEADER_SIZE_BYTES)
                self._size_bytes = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            self._header, self._size_bytes = b"", 0

    def find_damage(self, valid_frames: int) -> str | None:
        """Return what is wrong with the log, or None.

        Args:
            valid_frames: How many frames SQLite takes for whole.

        Raises:
            OSError: It cannot be read.
        """
        if self._size_bytes <= _HEADER_SIZE_BYTES:
            return None
        if not _header_is_whole(self._header):
            return "the head of its log is not whole"
        lost = self._commits_after(valid_frames)
        return f"{lost} commits lie behind a damaged place in its log" if lost > _UNACKNOWLEDGED_MAX else None

    def keep(self) -> Path:
        """Give the log a second name, since SQLite removes the first; return it.

        Raises:
            OSError: The file system does not allow it.
        """
        kept_as = self._path.with_name(f"{self._path.name}.damaged-{self._path.stat().st_mtime_ns}")
        if not kept_as.exists():
            os.link(self._path, kept_as)
        return kept_as

    def _commits_after(self, frame: int) -> int:
        """Count the frames of the present cycle, from number ``frame`` on, that end a commit."""
        (page_size_bytes,) = struct.unpack(">I", self._header[8:12])
        salts = self._header[16:24]
        frame_size_bytes = _FRAME_HEADER_SIZE_BYTES + page_size_bytes
        count = 0
        with self._path.open("rb") as file:
            for start in range(_HEADER_SIZE_BYTES + frame * frame_size_bytes, self._size_bytes, frame_size_bytes):
                file.seek(start)
                head = file.read(_FRAME_HEADER_SIZE_BYTES)
                is_commit = head[4:8] != bytes(4)
                count += head[8:16] == salts and is_commit
        return count


def _header_is_whole(header: bytes) -> bool:
    (magic,) = struct.unpack(">I", header[:4])
    if magic & ~1 != _MAGIC:
        return False
    words = struct.unpack(">6I" if magic & 1 else "<6I", header[:24])
    first = second = 0
    for left, right in zip(words[::2], words[1::2], strict=True):
        first = (first + left + second) & 0xFFFFFFFF
        second = (second + right + first) & 0xFFFFFFFF
    return (first, second) == struct.unpack(">2I", header[24:])
