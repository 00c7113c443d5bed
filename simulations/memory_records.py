"""A record store in memory: the twin of the one on disk, for tests of what is built on it.

The same contract test runs on both (``test_record_store.py``), and a model test compares them step by step.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, islice, takewhile

from node.ports import StoredRecord
from protocol.ids import Digest
from protocol.records import Record, newest

PAGE_SIZE_MAX_BYTES = 2**23


class MemoryRecordStore:
    """Implements ``node.ports.RecordStore``; what it holds is lost with the object."""

    def __init__(self) -> None:
        self._records: dict[Digest, Record] = {}
        self._collected_before = 0
        self.kept_aside: list[StoredRecord] = []

    def read(self, digest: Digest) -> Record | None:
        """Return the stored version."""
        return self._records.get(digest)

    async def commit(self, records: Sequence[StoredRecord]) -> Sequence[Record]:
        """Store what wins."""
        return [self.store(stored) for stored in records]

    async def remove(self, versions: Sequence[StoredRecord]) -> None:
        """Forget exactly these versions."""
        for stored in versions:
            if self._holds(stored):
                del self._records[stored.digest]

    async def set_aside(self, versions: Sequence[StoredRecord]) -> None:
        """Move exactly these versions out of sight."""
        for stored in versions:
            if self._holds(stored):
                self.kept_aside.append(StoredRecord(stored.digest, self._records.pop(stored.digest)))

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return place and stamp of every record, by place."""
        return [(digest, record.stamp) for digest, record in sorted(self._records.items(), key=lambda item: item[0])]

    def scan(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Record]:
        """Return records by key."""
        named = sorted((record for record in self._records.values() if record.key), key=lambda record: record.key)
        found = [record for record in named if record.key.startswith(prefix) and record.key > after]
        return found[: _page_length(found, limit)]

    def changed_since(self, stamp: int, *, after: Digest | None = None, limit: int = 1000) -> Sequence[StoredRecord]:
        """Return records by stamp."""
        def is_later(stored: StoredRecord) -> bool:
            at_stamp = after is not None and stored.record.stamp == stamp and stored.digest > after
            return stored.record.stamp > stamp or at_stamp

        return self._page(where=is_later, order=lambda stored: (stored.record.stamp, stored.digest), limit=limit)

    def expired(self, network_time_ms: int, *, limit: int = 1000) -> Sequence[StoredRecord]:
        """Return what has expired, the oldest first."""
        return self._page(
            where=lambda stored: stored.record.is_expired(network_time_ms),
            order=lambda stored: (stored.record.expires_ms, stored.digest),
            limit=limit,
        )

    def usage(self, author_key: bytes) -> tuple[int, int]:
        """Return records and bytes of one writer."""
        sizes = [len(record.value) for record in self._records.values() if record.author_key == author_key]
        return len(sizes), sum(sizes)

    def count(self) -> int:
        """Return how many live values are stored."""
        return sum(not record.is_tombstone for record in self._records.values())

    @property
    def collected_before(self) -> int:
        """Stamp of the newest tombstone known to be collected."""
        return self._collected_before

    async def raise_collected_before(self, stamp: int) -> None:
        """Keep a higher stamp."""
        self._collected_before = max(stamp, self._collected_before)

    async def close(self) -> None:
        """Nothing to finish."""

    def store(self, stored: StoredRecord) -> Record:
        """Store one record at once, and return the version now stored."""
        winner = newest(self._records.get(stored.digest), stored.record)
        assert winner is not None, "one of the two is a record"
        self._records[stored.digest] = winner
        return winner

    def _holds(self, stored: StoredRecord) -> bool:
        current = self._records.get(stored.digest)
        return current is not None and current.order == stored.record.order

    def _page(
        self,
        *,
        where: Callable[[StoredRecord], bool],
        order: Callable[[StoredRecord], tuple[int, bytes]],
        limit: int,
    ) -> Sequence[StoredRecord]:
        everything = (StoredRecord(digest, record) for digest, record in self._records.items())
        found = sorted(filter(where, everything), key=order)
        return found[: _page_length([stored.record for stored in found], limit)]


def _page_length(records: Sequence[Record], limit: int) -> int:
    """Return how many of ``records`` make one page."""
    most = min(limit, len(records))
    bytes_before = accumulate((len(record.value) for record in records), initial=0)
    return sum(1 for _ in takewhile(lambda before: before < PAGE_SIZE_MAX_BYTES, islice(bytes_before, most)))
