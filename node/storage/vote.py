"""The file ``vote``: the promise that a voter must never forget, across any crash (DESIGN section 6).

Two slots of one page each are written in turn, so that a write that is cut short spoils only the older promise's
slot. A slot says how often was written before it, and carries a checksum over all of it.
"""

import fcntl
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from bootstrap.files import os_errors, read_file, replace_file, set_aside
from protocol.effects import Promise
from protocol.errors import StoreError

SLOT_SIZE_BYTES: Final = 4096
"""One page and one sector of today's disks: a torn write of one slot never reaches the other."""

_MAGIC: Final = b"pairvot"
_VERSION: Final = 1
_LENGTH_SIZE_BYTES: Final = 2
_SEQUENCE_SIZE_BYTES: Final = 8
_CHECKSUM_SIZE_BYTES: Final = 32
_HEADER_SIZE_BYTES: Final = len(_MAGIC) + 1 + _SEQUENCE_SIZE_BYTES + _LENGTH_SIZE_BYTES
_EMPTY: Final = bytes(SLOT_SIZE_BYTES)


@dataclass(frozen=True, slots=True)
class VoteMissing:
    """There is no vote file and never was: a fresh peer, which has promised nothing."""


@dataclass(frozen=True, slots=True)
class VoteFound:
    """The newest promise whose slot is whole."""

    promise: Promise

    slot_damaged: bool
    """Whether the other slot is not whole: a write cut short by a crash, whose vote was never sent; or the
    disk lost a promise that was kept."""


@dataclass(frozen=True, slots=True)
class VoteDamaged:
    """A promise was made and is lost: do not vote before the current term is learned from others."""

    kept_as: Path
    """Where the damaged file lies now."""


VoteState: TypeAlias = VoteMissing | VoteFound | VoteDamaged


class VoteFile:
    """The vote file of one peer, whose folder is locked by this process.

    Invariants:
        1. The slot with the newest whole promise is never the one written next.
        2. When ``save`` returns, the promise survives a power cut; when it raises, the one before still does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._sequence = 0
        """Number of the newest whole slot; 0 while there is none and the file is to be created."""

    def load(self) -> VoteState:
        """Return what the file holds; a file without a whole slot is set aside.

        It counts as damaged, also after further starts, until a promise is saved.

        Raises:
            StoreError: The disk does not let us read it, or a newer version of this program wrote it.
        """
        state = self.peek()
        if isinstance(state, VoteDamaged) and self._path.exists():
            return VoteDamaged(kept_as=set_aside(self._path))
        return state

    def peek(self) -> VoteState:
        """Return what the file holds and change nothing: for others than its peer; a damaged one lies where it was.

        Raises:
            StoreError: As ``load``.
        """
        content = read_file(self._path)
        if content is None:
            kept = sorted(self._path.parent.glob(f"{self._path.name}.damaged-*"))
            return VoteDamaged(kept_as=kept[-1]) if kept else VoteMissing()
        slots = [content[:SLOT_SIZE_BYTES], content[SLOT_SIZE_BYTES : 2 * SLOT_SIZE_BYTES]]
        if any(_is_newer(slot) for slot in slots):
            raise StoreError(
                f"{self._path} was written by a newer version of this program",
                next_step="install that version again",
            )
        decoded = [_decode_slot(slot) for slot in slots]
        # A whole slot in the wrong place would make the next write replace the newest promise.
        whole = [slot for index, slot in enumerate(decoded) if slot is not None and _index_of(slot.sequence) == index]
        if not whole:
            return VoteDamaged(kept_as=self._path)
        newest = max(whole, key=lambda found: found.sequence)
        self._sequence = newest.sequence
        other = slots[_index_of(newest.sequence + 1)]
        is_first = newest.sequence == 1 and other == _EMPTY
        return VoteFound(promise=newest.promise, slot_damaged=len(whole) < 2 and not is_first)

    def save(self, promise: Promise) -> None:
        """Write ``promise`` durably; waits for one sync of the disk. ``load`` was called before.

        Raises:
            StoreError: It is not known to be on disk: do not send the vote.
        """
        slot = _encode_slot(self._sequence + 1, promise)
        if self._sequence == 0:
            self.close()
            replace_file(self._path, slot + _EMPTY)
        else:
            self._write(slot, position=_index_of(self._sequence + 1) * SLOT_SIZE_BYTES)
        self._sequence += 1

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _write(self, slot: bytes, *, position: int) -> None:
        with os_errors(f"save the vote in {self._path}"):
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
            written = os.pwrite(self._descriptor, slot, position)
            sync_content(self._descriptor)
        if written != len(slot):
            raise StoreError(f"cannot save the vote in {self._path}: cut short", next_step="check the disk")


def sync_content(descriptor: int) -> None:
    """Make the content of an open file survive a power cut.

    Raises:
        OSError: The disk failed.
    """
    full_sync = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: a plain fsync there stops at the disk's own cache
    if full_sync is not None:
        with suppress(OSError):  # not every file system has it
            fcntl.fcntl(descriptor, full_sync)
            return
    getattr(os, "fdatasync", os.fsync)(descriptor)


@dataclass(frozen=True, slots=True)
class _Slot:
    sequence: int
    promise: Promise


_decoder: Final = msgspec.msgpack.Decoder(Promise)


def _index_of(sequence: int) -> int:
    """Return which slot write number ``sequence`` goes to; the first write of a file is number 1."""
    return (sequence - 1) % 2


def _encode_slot(sequence: int, promise: Promise) -> bytes:
    """Return magic, version, sequence, length, promise, zeros and the SHA-256 of all of it."""
    payload = msgspec.msgpack.encode(promise)
    head = _MAGIC + bytes([_VERSION]) + sequence.to_bytes(_SEQUENCE_SIZE_BYTES, "big")
    body = head + len(payload).to_bytes(_LENGTH_SIZE_BYTES, "big") + payload
    body = body.ljust(SLOT_SIZE_BYTES - _CHECKSUM_SIZE_BYTES, b"\0")
    assert len(body) == SLOT_SIZE_BYTES - _CHECKSUM_SIZE_BYTES, "a promise fits a slot many times"
    return body + hashlib.sha256(body).digest()


def _decode_slot(slot: bytes) -> _Slot | None:
    """Return what a whole slot holds, None for any other bytes."""
    if not _is_whole(slot):
        return None
    body = slot[:-_CHECKSUM_SIZE_BYTES]
    start = len(_MAGIC) + 1
    sequence = int.from_bytes(body[start : start + _SEQUENCE_SIZE_BYTES], "big")
    length = int.from_bytes(body[start + _SEQUENCE_SIZE_BYTES : _HEADER_SIZE_BYTES], "big")
    try:
        promise = _decoder.decode(body[_HEADER_SIZE_BYTES : _HEADER_SIZE_BYTES + length])
    except (msgspec.MsgspecError, ValueError):
        return None
    return _Slot(sequence, promise) if sequence > 0 else None


def _is_whole(slot: bytes) -> bool:
    """Return whether the checksum holds, and a program of ours wrote it."""
    body, checksum = slot[:-_CHECKSUM_SIZE_BYTES], slot[-_CHECKSUM_SIZE_BYTES:]
    return len(slot) == SLOT_SIZE_BYTES and hashlib.sha256(body).digest() == checksum and body.startswith(_MAGIC)


def _is_newer(slot: bytes) -> bool:
    return _is_whole(slot) and slot[len(_MAGIC)] > _VERSION
