"""The records that this peer holds, with the sums by which two peers compare theirs.

For each other peer, and each of sixteen buckets, the shelf keeps the XOR of a mark of every version that both of
them should hold. Equal sums mean equal copies, so a comparison of thousands of records costs one small message.
All writes go through the shelf, which keeps the sums true and tells the listeners.

1. ``_stamps`` names exactly the stored records, with the stamps that the sums count.
2. While a rebuild is at work, changes since its snapshot wait in ``_late`` and enter the new sums at its end.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

from node.dht.holders import Holders
from node.dht.tasks import give_way
from node.ports import RecordStore, StoredRecord
from protocol.errors import StoreError
from protocol.ids import Digest, PeerId
from protocol.placement import Placement
from protocol.records import Record

BUCKETS: Final = 16
SLICE: Final = 64
"""Records looked at before others may run: a millisecond or two."""

_Change = tuple[Digest, int | None, int | None]
"""A place, and the stamp of its version before and after; None: nothing stored."""

_log = logging.getLogger("pair.dht")

_MARK_MASK: Final = 2**64 - 1
_MARK_FACTOR: Final = 0x9E3779B97F4A7C15
"""Odd, near the golden ratio of 2^64: spreads stamps that differ little (Knuth, section 6.4)."""


def bucket_of(place: Digest) -> int:
    """Return the bucket of a place: by its end, since records near one peer all begin alike."""
    return place[-1] % BUCKETS


class Shelf:
    """Wraps the record store of one peer."""

    def __init__(self, store: RecordStore, holders: Holders, local: PeerId) -> None:
        self.store: Final = store
        self.on_stored: Final[list[Callable[[Record], None]]] = []
        """Called with each version that became the stored one."""

        self.on_written: Final[list[Callable[[Record], None]]] = []
        """Called as well when that version is a writer's news, not a copy moved between holders."""

        self._holders = holders
        self._local = local
        self._commits: dict[asyncio.Task[Sequence[Record]], Sequence[StoredRecord]] = {}
        self._stamps: dict[Digest, int] = {}
        self._sums: dict[PeerId, list[int]] = {}
        self._summed = Placement(())
        self._late: list[_Change] | None = None

    def load(self) -> None:
        """Read which versions are stored. Call once, before anything else."""
        self._stamps = dict(self.store.digests())

    def stamp_of(self, place: Digest) -> int | None:
        """Return the stamp of the stored version, or None."""
        return self._stamps.get(place)

    def read(self, place: Digest) -> Record | None:
        """Return the stored version, tombstones and expired ones included."""
        return self.store.read(place) if place in self._stamps else None

    def read_if_possible(self, place: Digest) -> Record | None:
        """Return the same, or None where the disk fails: others have copies."""
        try:
            return self.read(place)
        except StoreError as error:
            _log.warning("a copy cannot be read: %s", error)
            return None

    async def commit(self, records: Sequence[StoredRecord], *, is_replica: bool = False) -> Sequence[Record]:
        """Store each record unless a newer version is there; return, in order, the version now stored.

        What began is noted to its end even when the caller is cancelled: the sums never differ from the disk.

        Raises:
            StoreError: Nothing of this call is stored.
        """
        for task, waiting in self._commits.items():
            if waiting == records:  # Sent again while the first is on its way to the disk.
                return await asyncio.shield(task)
        task = asyncio.get_running_loop().create_task(self._commit(records, is_replica=is_replica))
        self._commits[task] = records
        task.add_done_callback(self._commit_ended)
        return await asyncio.shield(task)

    async def remove(self, versions: Sequence[StoredRecord]) -> None:
        """Forget exactly these versions."""
        await self.store.remove(versions)
        self._note_removed(versions)

    async def set_aside(self, versions: Sequence[StoredRecord]) -> None:
        """Move exactly these versions out of every read."""
        await self.store.set_aside(versions)
        self._note_removed(versions)

    async def close(self) -> None:
        """Wait until what began is noted. Idempotent."""
        await asyncio.gather(*self._commits, return_exceptions=True)

    # The sums

    def partners(self) -> list[PeerId]:
        """Return the peers with whom this one should share some copy that it has."""
        return [peer_id for peer_id, sums in self._sums.items() if any(sums)]

    def shares_with(self, peer_id: PeerId) -> bool:
        """Return whether ``peer_id`` is one of them."""
        return any(self._sums.get(peer_id, ()))

    def sums(self, peer_id: PeerId) -> tuple[bytes, ...]:
        """Return the sums of what this peer and ``peer_id`` should both hold, 8 bytes for each bucket."""
        sums = self._sums.get(peer_id)
        return tuple(mark.to_bytes(8, "big") for mark in (sums or [0] * BUCKETS))

    async def walk(self) -> AsyncGenerator[tuple[Digest, int], None]:
        """Go through place and stamp of all records as they were at the first step; others run in between."""
        for index, item in enumerate(list(self._stamps.items()), start=1):
            yield item
            if index % SLICE == 0:
                await give_way()

    async def rebuild(
        self, placement: Placement, visit: Callable[[Digest, tuple[PeerId, ...]], None]
    ) -> None:
        """Compute all sums anew for these members; show each place and its holders to ``visit`` on the way."""
        sums: dict[PeerId, list[int]] = {}
        late: list[_Change] = []
        self._late = late
        try:
            async for place, stamp in self.walk():
                holders = placement.closest(place, self._holders.k)
                self._mark(sums, holders, place, stamp)
                visit(place, holders)
        finally:
            self._late = None
        for place, before, after in late:
            self._count(sums, placement, place, before)
            self._count(sums, placement, place, after)
        self._sums, self._summed = sums, placement

    async def shared(self, peer_id: PeerId, buckets: int) -> list[Digest]:
        """Return the places that this peer and ``peer_id`` should both hold, in the buckets whose bits are set."""
        places = []
        async for place, _ in self.walk():
            if buckets >> bucket_of(place) & 1:
                holders = self._holders.placement.closest(place, self._holders.k)
                if peer_id in holders and self._local in holders:
                    places.append(place)
        return places

    async def _commit(self, records: Sequence[StoredRecord], *, is_replica: bool) -> Sequence[Record]:
        winners = await self.store.commit(records)
        for stored, winner in zip(records, winners, strict=True):
            if self._note(stored.digest, winner.stamp):
                for listener in self.on_stored if is_replica else (*self.on_stored, *self.on_written):
                    listener(winner)
        return winners

    def _commit_ended(self, task: asyncio.Task[Sequence[Record]]) -> None:
        self._commits.pop(task, None)
        if not task.cancelled():
            task.exception()  # Looked at here too, since the caller may have been cancelled.

    def _note_removed(self, versions: Sequence[StoredRecord]) -> None:
        for stored in versions:
            left = self.store.read(stored.digest)
            self._note(stored.digest, left.stamp if left is not None else None)

    def _note(self, place: Digest, after: int | None) -> bool:
        """Note the version now stored; return whether it is another than before."""
        before = self._stamps.get(place)
        if before == after:
            return False
        if after is None:
            del self._stamps[place]
        elif before is not None and after < before:
            return False  # The answer to an earlier commit, overtaken by a later one's.
        else:
            self._stamps[place] = after
        self._count(self._sums, self._summed, place, before)
        self._count(self._sums, self._summed, place, after)
        if self._late is not None:
            self._late.append((place, before, after))
        return True

    def _count(
        self, sums: dict[PeerId, list[int]], placement: Placement, place: Digest, stamp: int | None
    ) -> None:
        """Add a version to the sums of all who should hold it, or take it out: XOR does both."""
        if stamp is not None:
            self._mark(sums, placement.closest(place, self._holders.k), place, stamp)

    def _mark(
        self, sums: dict[PeerId, list[int]], holders: Sequence[PeerId], place: Digest, stamp: int
    ) -> None:
        if self._local not in holders:
            return
        mark = (int.from_bytes(place[:8], "big") ^ stamp) * _MARK_FACTOR & _MARK_MASK
        bucket = bucket_of(place)
        for holder in holders:
            if holder != self._local:
                if (shared := sums.get(holder)) is None:
                    shared = sums[holder] = [0] * BUCKETS
                shared[bucket] ^= mark
