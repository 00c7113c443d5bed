"""What is gone for good: expired records and old tombstones are collected, and do not come back.

A tombstone expires a day after its delete. Before the first one is removed, its stamp is kept as
``collected_before`` and told to others with each comparison. A peer that was away for longer may still have what
such a tombstone deleted: on its return it sets aside those of its records at or below that stamp that a majority of
today's holders lack, before it offers anything.
"""

import asyncio
from typing import Final

from node.dht.keeping import EXPIRED_KEPT_MS
from node.dht.outbox import REQUEST_TIMEOUT_S, OfferAnswer
from node.dht.shelf import Shelf
from node.dht.surroundings import Surroundings
from node.dht.tasks import OwnedTasks, repeated
from node.dht.writing import TOMBSTONE_KEPT_MS
from node.ports import PeerUnreachable, StoredRecord
from protocol import limits
from protocol.dht_messages import Holding, Offer, Offered
from protocol.ids import Digest, PeerId
from protocol.records import stamp_of
from protocol.statements import majority_of

_INTERVAL_S: Final = 5.0
RETURNING_S: Final = 60.0
"""How long after its start a peer may learn that it was away for long."""

_CLOCK_MARGIN_MS: Final = 3_600_000


class Collector:
    """Owns the task that removes what expired, and knows whether this peer just returned."""

    def __init__(self, surroundings: Surroundings, shelf: Shelf) -> None:
        self._around = surroundings
        self._shelf = shelf
        self._tasks = OwnedTasks(limit=1)
        self._learning = asyncio.Lock()
        self._returning_until = 0.0

    def start(self) -> None:
        """Begin to collect."""
        self._returning_until = asyncio.get_running_loop().time() + RETURNING_S
        self._tasks.start(repeated(self._collect_later, pause_s=_INTERVAL_S))

    async def close(self) -> None:
        """End the task. Idempotent."""
        await self._tasks.close()

    async def learn(self, collected_before: int) -> None:
        """Take what another peer says was collected; set aside what a returning peer should not have any more."""
        # Nobody honest collects a tombstone earlier than a day after its delete.
        believable = stamp_of(max(0, self._around.time.now_ms() - TOMBSTONE_KEPT_MS + _CLOCK_MARGIN_MS))
        if collected_before <= self._shelf.store.collected_before or collected_before > believable:
            return
        async with self._learning:
            if collected_before <= self._shelf.store.collected_before:
                return
            if asyncio.get_running_loop().time() < self._returning_until:
                await self._set_aside_deleted(collected_before)
            await self._shelf.store.raise_collected_before(collected_before)

    async def collect(self) -> int:
        """Remove what expired long enough ago; return how many records that were."""
        removed = 0
        while expired := self._shelf.store.expired(max(0, self._around.time.now_ms() - EXPIRED_KEPT_MS)):
            tombstones = [stored.record.stamp for stored in expired if stored.record.is_tombstone]
            if tombstones:
                await self._shelf.store.raise_collected_before(max(tombstones))
            await self._shelf.remove(expired)
            removed += len(expired)
        return removed

    async def _collect_later(self) -> None:
        await asyncio.sleep(_INTERVAL_S)
        await self.collect()

    async def _set_aside_deleted(self, collected_before: int) -> None:
        """Ask today's holders for all records that are old enough to have been deleted meanwhile."""
        due: dict[PeerId, list[Holding]] = {}
        old: dict[Digest, int] = {}
        async for place, stamp in self._shelf.walk():
            if stamp <= collected_before:
                old[place] = stamp
                for holder in self._around.holders.of(place).peer_ids:
                    if holder != self._around.local:
                        due.setdefault(holder, []).append(Holding(place, stamp))
        lacking: dict[Digest, int] = {}
        await asyncio.gather(*(self._count_lacking(holder, holdings, lacking) for holder, holdings in due.items()))
        deleted = []
        for place, count in lacking.items():
            record = self._shelf.read(place)
            is_lacked = count >= majority_of(len(self._around.holders.of(place).peer_ids))
            if is_lacked and record is not None and record.stamp == old[place]:
                deleted.append(StoredRecord(place, record))
        if deleted:
            await self._shelf.set_aside(deleted)

    async def _count_lacking(self, holder: PeerId, holdings: list[Holding], lacking: dict[Digest, int]) -> None:
        """Count which of these versions one holder lacks; one that does not answer lacks nothing."""
        for start in range(0, len(holdings), limits.OFFER_SIZE_MAX):
            page = holdings[start : start + limits.OFFER_SIZE_MAX]
            try:
                reply = await self._around.requester.request(
                    holder, Offer(holdings=tuple(page)), timeout_s=REQUEST_TIMEOUT_S
                )
            except PeerUnreachable:
                return
            if isinstance(reply, Offered) and len(reply.answers) == len(page):
                for holding, answer in zip(page, reply.answers, strict=True):
                    if answer in (OfferAnswer.WANTS, OfferAnswer.COMING):
                        place = Digest(holding.place)
                        lacking[place] = lacking.get(place, 0) + 1
