"""Reads: the best holder is asked, the next ones when it is slow, and the newest version that was seen wins.

A version found beats "absent"; "not found" needs a majority of absent answers. A quorum read asks all holders and
takes the newest of a majority's answers. A tombstone or an expired version is a version found: it says that there
is nothing to read. Holders that answered with less than the newest get it pushed (read repair, only upwards).
"""

import asyncio
from collections.abc import Callable
from typing import Final

from node.dht.inquiry import Inquiry
from node.dht.keeping import EXPIRED_KEPT_MS, Keeper
from node.dht.outbox import replicas, transfer_timeout_s
from node.dht.shelf import Shelf
from node.dht.surroundings import Surroundings
from node.dht.tasks import OwnedTasks, take_turn
from node.errors import OperationError
from node.ports import PeerUnreachable, StoredRecord
from node.service import ReadResult
from node.shapes import Asked, Explain
from protocol.ids import Digest, PeerId
from protocol.records import Record

READS_AT_ONCE: Final = 256
"""Reads at work; further ones wait their turn within their time."""

_REPAIRS_MAX: Final = 64
_REPAIR_TIMEOUT_S: Final = 2.0


class KeyGone(OperationError):
    """The key was deleted or has expired, which the newest version says; a copy elsewhere would be an old one."""


class Reader:
    """Owns the reads of this peer's users, and the repairs that they cause."""

    def __init__(
        self, surroundings: Surroundings, shelf: Shelf, keeper: Keeper, *, is_settled: Callable[[], bool]
    ) -> None:
        """Prepare; while ``is_settled`` is false, copies may be old, and reads ask more holders."""
        self._around = surroundings
        self._shelf = shelf
        self._keeper = keeper
        self._is_settled = is_settled
        self._slots = asyncio.Semaphore(READS_AT_ONCE)
        self._repairs = OwnedTasks(limit=_REPAIRS_MAX)

    async def close(self) -> None:
        """End all repairs. Idempotent."""
        await self._repairs.close()

    async def get(self, key: str, *, quorum: bool, timeout_s: float) -> ReadResult:
        """Return the value of ``key``; see ``node.service.PeerService``."""
        place = self._around.place_of(key)
        holders = self._around.holders.of(place).peer_ids
        local = self._shelf.read_if_possible(place)
        if local is not None and not quorum and self._around.local in holders and self._is_settled():
            asked = [self._around.asked(self._around.local, "found", local.version, 0.0)]
            return self._result(key, local, holders, asked)
        deadline = asyncio.get_running_loop().time() + timeout_s
        inquiry = Inquiry(self._around, place, key, local=local, deadline=deadline)
        newest = await self._ask(inquiry, quorum=quorum, deadline=deadline)
        return self._result(key, newest, inquiry.holders, inquiry.explained())

    async def newest(self, place: Digest, key: str, *, deadline: float) -> Record | None:
        """Return the newest version that a majority of the holders knows, of any kind, or None.

        Raises:
            OperationError: No majority answered in time.
        """
        local = self._shelf.read_if_possible(place)
        inquiry = Inquiry(self._around, place, key, local=local, deadline=deadline)
        return await self._ask(inquiry, quorum=True, deadline=deadline)

    async def _ask(self, inquiry: Inquiry, *, quorum: bool, deadline: float) -> Record | None:
        await take_turn(self._slots, deadline)
        try:
            is_clear = await inquiry.run("quorum" if quorum else "default" if self._is_settled() else "careful")
        finally:
            self._slots.release()
        self._repair(inquiry)
        if not is_clear and (quorum or inquiry.newest is None):
            raise OperationError(
                "not-enough-holders",
                f"{len(inquiry.answers)} of {len(inquiry.holders)} holders answered in time",
                next_step="try again, or read without quorum" if quorum and inquiry.newest else "try again",
            )
        return inquiry.newest

    def _result(
        self, key: str, record: Record | None, holders: tuple[PeerId, ...], asked: list[Asked]
    ) -> ReadResult:
        if record is None or not record.is_live(self._around.time.now_ms()):
            kind = OperationError if record is None else KeyGone
            raise kind("not-found", f"there is no key {key!r}", next_step="pair keys lists those there are")
        explain = Explain(
            served_by=self._around.local.hex(), holders=[peer_id.hex() for peer_id in holders], asked=asked
        )
        return ReadResult(record=record, explain=explain)

    def _repair(self, inquiry: Inquiry) -> None:
        """Bring the newest version to the holders that answered with less; nobody waits for it."""
        newest = inquiry.newest
        if newest is None or newest.is_expired(self._around.time.now_ms() - EXPIRED_KEPT_MS):
            return
        stored = StoredRecord(inquiry.place, newest)
        for peer_id in inquiry.behind():
            self._repairs.start(self._bring(peer_id, stored))

    async def _bring(self, peer_id: PeerId, stored: StoredRecord) -> None:
        if peer_id == self._around.local:
            await self._keeper.take([stored], sender=peer_id, is_replica=True)
            return
        try:
            timeout_s = transfer_timeout_s(_REPAIR_TIMEOUT_S, len(stored.record.value))
            await self._around.requester.request(peer_id, replicas([stored]), timeout_s=timeout_s)
        except PeerUnreachable:
            return  # Membership or the periodic comparison will see to it.
