"""What a holder takes and what it refuses. Nothing is stored that was not verified.

The same checks meet records of this peer's own users and those of others, new versions and replicas.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from node.dht.quotas import MemberQuotas
from node.dht.shelf import Shelf
from node.dht.surroundings import Surroundings, may_write
from node.ports import StoredRecord
from protocol import limits
from protocol.dht_messages import RecordOutcome, RefusalReason
from protocol.errors import DiskFull, StoreError
from protocol.ids import Digest, PeerId
from protocol.records import UNSIGNED_WRITER, Record, stamp_is_credible

EXPIRED_KEPT_MS: Final = 60_000
"""How long an expired record stays, so that holders whose clocks differ a little agree; it is never shown."""

_VERIFIED_AT_ONCE: Final = 4
"""Signatures checked before others may run: half a millisecond."""


class Keeper:
    """Decides about records that somebody wants to be kept here."""

    def __init__(self, surroundings: Surroundings, shelf: Shelf) -> None:
        self._around = surroundings
        self._shelf = shelf
        self.quotas: Final = MemberQuotas()

    async def take(
        self, records: Sequence[StoredRecord], *, sender: PeerId, is_replica: bool
    ) -> list[RecordOutcome]:
        """Store what is acceptable and not older than what is there; return each record's outcome, in order."""
        try:
            return await self._take(records, sender=sender, is_replica=is_replica)
        except DiskFull:
            return [RecordOutcome(outcome="refused", reason="disk-full")] * len(records)
        except StoreError:
            return [RecordOutcome(outcome="refused", reason="store-failed")] * len(records)

    async def _take(
        self, records: Sequence[StoredRecord], *, sender: PeerId, is_replica: bool
    ) -> list[RecordOutcome]:
        outcomes: dict[int, RecordOutcome] = {}
        accepted: dict[int, StoredRecord] = {}
        for index, stored in enumerate(records):
            if index and index % _VERIFIED_AT_ONCE == 0:
                await asyncio.sleep(0)
            outcome = self._judge(stored, sender=sender, is_replica=is_replica, before=len(accepted))
            if outcome is None:
                accepted[index] = stored
            else:
                outcomes[index] = outcome
        if accepted:
            committed = await self._commit(list(accepted.values()), sender=sender, is_replica=is_replica)
            outcomes.update(zip(accepted, committed, strict=True))
        return [outcomes[index] for index in range(len(records))]

    def _judge(
        self, stored: StoredRecord, *, sender: PeerId, is_replica: bool, before: int
    ) -> RecordOutcome | None:
        """Return why a record need not or must not be stored; None when it must. ``before`` counts others accepted."""
        record, place = stored.record, stored.digest
        known = self._shelf.read(place)
        if known is not None and known == record:
            return RecordOutcome(outcome="synced")
        reason = self._refusal(record, place, known, sender=sender, is_replica=is_replica, before=before)
        if reason:
            return RecordOutcome(outcome="refused", reason=reason)
        if known is not None and known.stamp >= record.stamp and known.order > record.order:
            return RecordOutcome(outcome="stale", existed=self._is_live(known), newer=known.head)
        return None

    def _refusal(
        self, record: Record, place: Digest, known: Record | None, *, sender: PeerId, is_replica: bool, before: int
    ) -> RefusalReason:
        now_ms = self._around.time.now_ms()
        is_unsigned = record.author_key == UNSIGNED_WRITER
        if not is_unsigned and not may_write(record.key, record.author):
            return "foreign-key"
        if not is_replica and not is_unsigned and record.author != sender:
            return "wrong-writer"
        if record.is_expired(now_ms - EXPIRED_KEPT_MS):
            return "invalid"
        known_stamp = known.stamp if known is not None else 0
        if not stamp_is_credible(record.stamp, network_time_ms=now_ms, stored_stamp=known_stamp, is_replica=is_replica):
            return "stamp"
        count, size = self._shelf.store.usage(record.author_key)
        if known is not None and known.author_key == record.author_key:
            count, size = count - 1, size - len(known.value)
        if count + before >= limits.RECORDS_PER_OWNER_MAX or size + len(record.value) > limits.BYTES_PER_OWNER_MAX:
            return "quota-exceeded"
        if not self._is_within_quota(record, sender=sender, is_replica=is_replica):
            return "quota-exceeded"
        if not self._around.is_genuine(record, place):  # the dearest check comes last
            return "invalid"
        return ""

    def _is_within_quota(self, record: Record, *, sender: PeerId, is_replica: bool) -> bool:
        """Return whether the member that sends ``record`` may have it stored; this peer itself has no quota."""
        if sender == self._around.local:
            return True
        now = asyncio.get_running_loop().time()
        if self._is_unknown(record, sender) and not self.quotas.may_bring(sender, len(record.value), now=now):
            return False
        return is_replica or self.quotas.may_write(sender, now=now)

    def _is_unknown(self, record: Record, sender: PeerId) -> bool:
        """Return whether nobody here knows the writer; those without a key share the quota of one writer."""
        if record.author == sender or record.author_key == UNSIGNED_WRITER:
            return False
        return self._around.members.find(record.author) is None

    def _count(self, record: Record, *, sender: PeerId, is_replica: bool) -> None:
        now = asyncio.get_running_loop().time()
        if self._is_unknown(record, sender):
            self.quotas.brought(sender, len(record.value), now=now)
        if not is_replica:
            self.quotas.wrote(sender, now=now)

    async def _commit(
        self, records: list[StoredRecord], *, sender: PeerId, is_replica: bool
    ) -> list[RecordOutcome]:
        before = [self._shelf.read(stored.digest) for stored in records]
        winners = await self._shelf.commit(records, is_replica=is_replica)
        outcomes = []
        for stored, known, winner in zip(records, before, winners, strict=True):
            existed = known is not None and self._is_live(known)
            if winner == stored.record:
                if sender != self._around.local:
                    self._count(stored.record, sender=sender, is_replica=is_replica)
                outcomes.append(RecordOutcome(outcome="synced", existed=existed))
            else:
                outcomes.append(RecordOutcome(outcome="stale", existed=existed, newer=winner.head))
        return outcomes

    def _is_live(self, record: Record) -> bool:
        return record.is_live(self._around.time.now_ms())
