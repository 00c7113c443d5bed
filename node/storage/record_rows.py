"""Rows of the table ``records``: a record, the columns it is looked up by, and a checksum over what counts.

The columns repeat what the encoded record says, so a row with one flipped bit anywhere contradicts itself.
"""

import zlib
from typing import Any, Final

import msgspec

from node.ports import StoredRecord
from protocol.ids import Digest
from protocol.records import Record

COLUMNS: Final = "digest, stamp, key, author, kind, size, expires_ms, checksum, record"
DECLARED: Final = """
    digest BLOB NOT NULL,
    stamp INTEGER NOT NULL,
    key TEXT NOT NULL,
    author BLOB NOT NULL,
    kind TEXT NOT NULL,
    size INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    checksum INTEGER NOT NULL,
    record BLOB NOT NULL
"""

_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Record).decode


def row_of(stored: StoredRecord) -> tuple[Any, ...]:
    """Return the values of ``COLUMNS``."""
    record, encoded = stored.record, _encode(stored.record)
    return (
        stored.digest,
        record.stamp,
        record.key,
        record.author_key,
        "tombstone" if record.is_tombstone else "value",
        len(record.value),
        record.expires_ms,
        checksum_of(stored.digest, encoded),
        encoded,
    )


def record_in(digest: bytes, checksum: int, encoded: bytes) -> Record | None:
    """Return the record in the last columns of a row, or None where they are not what a peer wrote."""
    if checksum != checksum_of(digest, encoded):
        return None
    try:
        return _decode(encoded)
    except (msgspec.MsgspecError, ValueError):  # of text that is no UTF-8
        return None


def is_whole(row: tuple[Any, ...]) -> bool:
    """Return whether a row of ``COLUMNS`` is what this program wrote."""
    digest, *_, checksum, encoded = row
    if not isinstance(digest, bytes) or not isinstance(encoded, bytes):
        return False
    record = record_in(digest, checksum, encoded)
    return record is not None and row == row_of(StoredRecord(Digest(digest), record))


def checksum_of(digest: bytes, encoded: bytes) -> int:
    """Return the checksum of a row: over its place and the encoded record."""
    return zlib.crc32(encoded, zlib.crc32(digest))


def fact_checksum(stamp: int) -> int:
    """Return the checksum of a row of the table ``facts``."""
    return zlib.crc32(stamp.to_bytes(8, "big", signed=True))
