"""Copies on their way to other holders: offered first, sent where wanted, a few at a time.

A push names a place, not a version: what is there when its turn comes is sent. The receiver says of each offered
version whether it wants it, so copies that are there already cost some thirty bytes. What is for a suspect waits until
it is heard again. Four receivers are served at
once, each by one task (the join storm of the ``kademlia`` library sent everything at once and lost it).
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Final

from node.dht.keeping import EXPIRED_KEPT_MS
from node.dht.shelf import Shelf
from node.dht.surroundings import Surroundings
from node.dht.tasks import OwnedTasks, give_way
from node.ports import PeerUnreachable, StoredRecord
from protocol import limits
from protocol.dht_messages import Holding, Offer, Offered, Store, Stored
from protocol.errors import StoreError
from protocol.ids import Digest, PeerId

RECEIVERS_AT_ONCE: Final = 4
REQUEST_TIMEOUT_S: Final = 2.0
"""Time of one request; what carries records gets more (``transfer_timeout_s``)."""

_SLOW_LINK_BYTES_PER_S: Final = 128 * 1024
"""The slowest link on which the largest value still arrives before it is sent again."""

_TRIES_MAX: Final = 6
_RETRY_S: Final = 0.1
"""First pause before a receiver is tried again; doubles. After the last try the periodic comparison takes over."""

_LATER_S: Final = 1.0
"""How long the second-ranked holder leaves the work to the first."""

_COMING_S: Final = 0.5
"""Pause before a version is offered again that another holder has promised to send."""

_BATCH_SIZE_MAX_BYTES: Final = 256 * 1024
_BATCHES_AT_ONCE: Final = 4
_BY_DATAGRAM_MAX_BYTES: Final = 48 * 1024
_OFFER_BY_DATAGRAM_MAX: Final = 32
"""Versions that one datagram offers; only long offers are worth a TLS connection."""

_DATAGRAM_BUDGET_BYTES: Final = limits.MESSAGE_SIZE_MAX_BYTES - 30
_RECORD_OVERHEAD_BYTES: Final = 125
"""What a record has beside its key and value: writer, signature, stamp, expiry."""


class OfferAnswer(IntEnum):
    """What a receiver says of one offered version; append-only, one byte on the wire."""

    HAS = 0
    WANTS = 1
    HAS_NEWER = 2
    COMING = 3
    """Another peer was asked for it just now: offer it again later."""


class Outbox:
    """Owns the queue and the tasks that work on it."""

    def __init__(self, surroundings: Surroundings, shelf: Shelf) -> None:
        self._around = surroundings
        self._shelf = shelf
        self._due: dict[PeerId, dict[Digest, None]] = {}
        self._due_later: dict[PeerId, dict[Digest, None]] = {}
        self._push_later: asyncio.TimerHandle | None = None
        self._active: dict[PeerId, None] = {}
        self._tasks = OwnedTasks(limit=2 * RECEIVERS_AT_ONCE)  # those that just ended count for a moment
        self.on_confirmed: list[Callable[[PeerId, Digest, int], None]] = []
        """Called with a receiver, a place and the stamp of the version that it surely holds now, or a newer one."""

        self.on_given_up: list[Callable[[PeerId], None]] = []
        """Called with a receiver that did not answer for so long that what waited for it was dropped."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way, and nothing waits but for suspects."""
        return not self._active and not self._due_later

    def push(self, receiver: PeerId, places: Iterable[Digest]) -> None:
        """See to it that ``receiver`` holds at least the versions stored here; a place counts once."""
        if receiver == self._around.local:
            return
        waiting = dict.fromkeys(places)
        if waiting:
            self._due.setdefault(receiver, {}).update(waiting)
            self._start_next()

    def push_later(self, receiver: PeerId, place: Digest) -> None:
        """Push in a while what another holder pushes now, unless ``receiver`` turns out to hold it."""
        self._due_later.setdefault(receiver, {})[place] = None
        if self._push_later is None:
            self._push_later = asyncio.get_running_loop().call_later(_LATER_S, self._push_due)

    def held(self, receiver: PeerId, place: Digest) -> None:
        """Drop what waits for a receiver that said that it holds the version stored here, or a newer one."""
        for waiting in (self._due.get(receiver), self._due_later.get(receiver)):
            if waiting is not None:
                waiting.pop(place, None)

    def member_heard(self) -> None:
        """Go on with what waited for a suspect that proved to live."""
        self._start_next()

    def forget(self, receiver: PeerId) -> None:
        """Drop what waits for a receiver that is gone."""
        self._due.pop(receiver, None)
        self._due_later.pop(receiver, None)

    async def close(self) -> None:
        """End all tasks. Idempotent."""
        if self._push_later is not None:
            self._push_later.cancel()
        await self._tasks.close()

    def _push_due(self) -> None:
        due, self._due_later, self._push_later = self._due_later, {}, None
        for receiver, places in due.items():
            self.push(receiver, places)

    def _start_next(self) -> None:
        for receiver in list(self._due):
            if len(self._active) >= RECEIVERS_AT_ONCE:
                return
            is_free = receiver not in self._active and not self._around.members.is_suspect(receiver)
            if is_free and self._tasks.start(self._serve(receiver)):
                self._active[receiver] = None

    async def _serve(self, receiver: PeerId) -> None:
        try:
            await self._deliver_all(receiver)
        finally:
            self._active.pop(receiver, None)
            self._start_next()

    async def _deliver_all(self, receiver: PeerId) -> None:
        tries = 0
        while (due := self._due.get(receiver)) and self._around.holders.is_living(receiver):
            if self._around.members.is_suspect(receiver):
                return
            size = limits.OFFER_SIZE_MAX if len(due) > 8 * _OFFER_BY_DATAGRAM_MAX else _OFFER_BY_DATAGRAM_MAX
            left = {place: due.pop(place) for place in list(due)[:size]}
            pause_s = _COMING_S
            try:
                await self._deliver(receiver, left)
            except (PeerUnreachable, StoreError):
                tries += 1
                if tries >= _TRIES_MAX:
                    self._given_up(receiver)
                    break
                pause_s = _RETRY_S * 2**tries
            await give_way()
            if left:
                due.update(left)
                await asyncio.sleep(pause_s)
        self._due.pop(receiver, None)

    async def _deliver(self, receiver: PeerId, left: dict[Digest, None]) -> None:
        """Offer one batch and send what is wanted of it; what is done leaves ``left``.

        Raises:
            PeerUnreachable: The receiver does not answer.
            StoreError: What is stored here cannot be read.
        """
        stamps: dict[Digest, int] = {}
        for place in list(left):
            stamp = self._shelf.stamp_of(place)
            if stamp is None:
                del left[place]
            else:
                stamps[place] = stamp
        if not stamps:
            return
        offer = Offer(holdings=tuple(Holding(place, stamp) for place, stamp in stamps.items()))
        reply = await self._around.requester.request(receiver, offer, timeout_s=REQUEST_TIMEOUT_S)
        if not isinstance(reply, Offered) or len(reply.answers) != len(stamps):
            left.clear()  # It will not say; asking the same again would not help.
            return
        wanted: list[Digest] = []
        for (place, stamp), answer in zip(stamps.items(), reply.answers, strict=True):
            if answer == OfferAnswer.WANTS:
                wanted.append(place)
            elif answer != OfferAnswer.COMING:
                self._confirmed(receiver, place, stamp)
                del left[place]
        await self._send(receiver, wanted, left)

    async def _send(self, receiver: PeerId, places: Sequence[Digest], left: dict[Digest, None]) -> None:
        due: list[StoredRecord] = []
        for place in places:
            record = self._shelf.read(place)
            # What expired lately goes too: it is newer than what a holder may have missed it with.
            if record is None or record.is_expired(self._around.time.now_ms() - EXPIRED_KEPT_MS):
                del left[place]
            else:
                due.append(StoredRecord(place, record))
        batches = _batches(due)
        for start in range(0, len(batches), _BATCHES_AT_ONCE):
            sending = (self._send_batch(receiver, batch, left) for batch in batches[start : start + _BATCHES_AT_ONCE])
            for result in await asyncio.gather(*sending, return_exceptions=True):
                if isinstance(result, BaseException):
                    raise result
            await give_way()

    async def _send_batch(
        self, receiver: PeerId, batch: Sequence[StoredRecord], left: dict[Digest, None]
    ) -> None:
        size = sum(len(stored.record.value) for stored in batch)
        timeout_s = transfer_timeout_s(REQUEST_TIMEOUT_S, size)
        reply = await self._around.requester.request(receiver, replicas(batch), timeout_s=timeout_s)
        if isinstance(reply, Stored) and len(reply.outcomes) == len(batch):
            for stored, outcome in zip(batch, reply.outcomes, strict=True):
                if outcome.outcome != "refused":
                    self._confirmed(receiver, stored.digest, stored.record.stamp)
        for stored in batch:
            del left[stored.digest]

    def _given_up(self, receiver: PeerId) -> None:
        for listener in self.on_given_up:
            listener(receiver)

    def _confirmed(self, receiver: PeerId, place: Digest, stamp: int) -> None:
        for listener in self.on_confirmed:
            listener(receiver, place, stamp)


def _batches(records: Sequence[StoredRecord]) -> list[list[StoredRecord]]:
    """Split records for their way: a few small ones into datagrams, since a new TLS connection costs more CPU."""
    total = sum(_size_of(stored) for stored in records)
    size_max = _DATAGRAM_BUDGET_BYTES if total <= _BY_DATAGRAM_MAX_BYTES else _BATCH_SIZE_MAX_BYTES
    batches: list[list[StoredRecord]] = []
    size = 0
    for stored in records:
        record_size = _size_of(stored)
        if not batches or size + record_size > size_max or len(batches[-1]) >= limits.STORE_RECORDS_MAX:
            batches.append([])
            size = 0
        batches[-1].append(stored)
        size += record_size
    return batches


def _size_of(stored: StoredRecord) -> int:
    return len(stored.record.value) + len(stored.record.key.encode()) + _RECORD_OVERHEAD_BYTES


def transfer_timeout_s(timeout_s: float, size_bytes: int) -> float:
    """Return how long a request may take that carries values of so many bytes, in seconds."""
    return timeout_s + size_bytes / _SLOW_LINK_BYTES_PER_S


def replicas(records: Sequence[StoredRecord]) -> Store:
    """Return the request that moves these versions to another holder."""
    return Store(
        records=tuple(stored.record for stored in records),
        places=tuple(stored.digest for stored in records) if any(not each.record.key for each in records) else (),
    )
