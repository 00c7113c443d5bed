"""Digests of a member table: how many there are in each of sixteen buckets, and the XOR of their marks.

Kept up with each change, so that a comparison costs nothing. The XOR of two digests is that of the marks of those that
only one table has; where they are one or two, whoever knows them can tell which (a set is reconciled by its sums).
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Final

from protocol.ids import PeerId
from protocol.statements import EVIDENCE_KEPT_MAX

BUCKETS: Final = 16
"""Buckets of the table, by the first four bits of the peer id."""

TOLD_EXACTLY_MAX: Final = 2
"""Descriptors of a bucket that only one table has, and that ``explained`` finds."""

_COUNT_SIZE_BYTES: Final = 2
_MARK_SIZE_BYTES: Final = 6


def bucket_of(peer_id: PeerId) -> int:
    """Return the bucket of a peer."""
    return peer_id[0] >> 4


@functools.lru_cache(maxsize=EVIDENCE_KEPT_MAX)
def mark_of(encoded: bytes) -> int:
    """Return what stands for an encoded descriptor in a digest."""
    return int.from_bytes(hashlib.sha256(encoded).digest()[:_MARK_SIZE_BYTES], "big")


def difference_of(own: bytes, theirs: bytes) -> tuple[int, int]:
    """Return how many more one digest counts than another, and the XOR of the marks that are in one of them only."""
    more = int.from_bytes(own[:_COUNT_SIZE_BYTES], "big") - int.from_bytes(theirs[:_COUNT_SIZE_BYTES], "big")
    own_marks, their_marks = (int.from_bytes(digest[_COUNT_SIZE_BYTES:], "big") for digest in (own, theirs))
    return more, own_marks ^ their_marks


def explained(marks: Sequence[int], difference: int) -> tuple[int, ...]:
    """Return the positions of the one or two marks whose XOR is ``difference``; none when there are no such marks."""
    positions = {mark: position for position, mark in enumerate(marks)}
    if difference in positions:
        return (positions[difference],)
    for position, mark in enumerate(marks):
        other = positions.get(mark ^ difference)
        if other is not None and other != position:
            return (position, other)
    return ()


class TableDigest:
    """The digests of one table."""

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self._marks = [0] * BUCKETS
        self._digests: tuple[bytes, ...] | None = None

    @property
    def total(self) -> int:
        """How many descriptors are counted."""
        return sum(self._counts)

    @property
    def buckets(self) -> tuple[bytes, ...]:
        """The digest of each bucket."""
        if self._digests is None:
            self._digests = tuple(
                count.to_bytes(_COUNT_SIZE_BYTES, "big") + mark.to_bytes(_MARK_SIZE_BYTES, "big")
                for count, mark in zip(self._counts, self._marks, strict=True)
            )
        return self._digests

    def count(self, peer_id: PeerId, mark: int, *, is_in: bool) -> None:
        """Count the descriptor of a peer from now on, or no more."""
        bucket = bucket_of(peer_id)
        self._counts[bucket] += 1 if is_in else -1
        self._marks[bucket] ^= mark
        self._digests = None
