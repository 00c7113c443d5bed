"""Requests of other peers: one handler for each kind. All are idempotent, since lost replies are asked for again."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from node.dht.holders import HolderList
from node.dht.keeping import Keeper
from node.dht.outbox import OfferAnswer, Outbox
from node.dht.shelf import Shelf
from node.dht.surroundings import Surroundings
from node.ports import StoredRecord
from protocol import limits
from protocol.dht_messages import Fetch, Fetched, KeysListed, ListKeys, Offer, Offered, Store, Stored
from protocol.ids import Digest, PeerId
from protocol.messages import Refusal, Reply
from protocol.records import Head, Record

_PROMISED_S: Final = 1.0
"""How long a version that was asked of one peer is not asked of another."""

_PROMISED_MAX: Final = 8192

_PAGE_SIZE_MAX_BYTES: Final = 256 * 1024
_HEAD_OVERHEAD_BYTES: Final = 200


class Serving:
    """Answers ``Store``, ``Fetch``, ``Offer`` and ``ListKeys`` from what this peer holds."""

    def __init__(self, surroundings: Surroundings, shelf: Shelf, keeper: Keeper, outbox: Outbox) -> None:
        self._around = surroundings
        self._shelf = shelf
        self._keeper = keeper
        self._outbox = outbox
        self._promised: dict[Digest, tuple[PeerId, float]] = {}
        self.on_disagreement: list[Callable[[Digest], None]] = []
        """Called with a place about whose holders another peer and this one disagree, once its record is stored."""

    async def store(self, sender: PeerId, request: Store) -> Reply:
        """Keep what is acceptable; answer once it is on disk."""
        records = self._placed(request)
        if records is None:
            return Refusal(reason="places do not fit the records")
        outcomes = await self._keeper.take(records, sender=sender, is_replica=not request.view)
        for stored in records:
            self._promised.pop(stored.digest, None)
        if not request.view:
            return Stored(outcomes=tuple(outcomes))
        place = records[0].digest
        own = self._around.holders.of(place)
        if own.view == request.view:
            return Stored(outcomes=tuple(outcomes))
        for listener in self.on_disagreement:
            listener(place)
        return Stored(outcomes=tuple(outcomes), holders=own.peer_ids)

    def fetch(self, request: Fetch) -> Fetched:
        """Return the stored version."""
        place = Digest(request.place)
        own: HolderList = self._around.holders.of(place)
        record = self._shelf.read(place)
        agrees = not request.view or own.view == request.view
        is_enough = agrees or (record is not None and not request.counts_holders)
        return Fetched(record=record, holders=() if is_enough else own.peer_ids)

    def offer(self, sender: PeerId, request: Offer) -> Offered:
        """Say which of the offered versions are wanted; a newer one is offered in return to a holder."""
        now = asyncio.get_running_loop().time()
        newer: list[Digest] = []
        answers = bytearray()
        for holding in request.holdings:
            place = Digest(holding.place)
            stamp = self._shelf.stamp_of(place)
            if stamp is not None and stamp <= holding.stamp:
                self._outbox.held(sender, place)
            if stamp is None or stamp < holding.stamp:
                answers.append(self._want(place, sender, now))
            elif stamp == holding.stamp:
                answers.append(OfferAnswer.HAS)
            else:
                answers.append(OfferAnswer.HAS_NEWER)
                if sender in self._around.holders.of(place).peer_ids:  # others offer what they want to be rid of
                    newer.append(place)
        self._outbox.push(sender, newer)
        return Offered(answers=bytes(answers))

    async def list_keys(self, request: ListKeys) -> KeysListed:
        """Return one page of heads."""
        heads: list[Head] = []
        size = 0
        for index, record in enumerate(
            self._shelf.store.scan(request.prefix, after=request.after, limit=limits.LIST_PAGE_MAX), start=1
        ):
            heads.append(record.head)
            size += len(record.key) + _HEAD_OVERHEAD_BYTES
            if size >= _PAGE_SIZE_MAX_BYTES:
                break
            if index % 128 == 0:
                await asyncio.sleep(0)
        return KeysListed(heads=tuple(heads))

    def _placed(self, request: Store) -> Sequence[StoredRecord] | None:
        """Return the records with their places, or None when the request does not fit together."""
        places = request.places
        if (places and len(places) != len(request.records)) or (request.view and len(request.records) != 1):
            return None
        placed = []
        for index, record in enumerate(request.records):
            place = self._place_of(record, places[index] if places else b"")
            if place is None:
                return None
            placed.append(StoredRecord(place, record))
        return placed

    def _place_of(self, record: Record, told: bytes) -> Digest | None:
        if record.key:
            return self._around.place_of(record.key)
        return Digest(told) if told else None

    def _want(self, place: Digest, sender: PeerId, now: float) -> OfferAnswer:
        promised_by, until = self._promised.get(place, (sender, 0.0))
        if promised_by != sender and now < until:
            return OfferAnswer.COMING
        if len(self._promised) >= _PROMISED_MAX:
            self._promised.clear()
        self._promised[place] = (sender, now + _PROMISED_S)
        return OfferAnswer.WANTS
