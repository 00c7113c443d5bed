"""The watches that this peer serves, other peers' and its own: what it stores is pushed to those who watch it.

A watch pulls by stamp, from where its last pull ended. A write of a peer whose clock is behind may be stamped before
that: such a one is owed to the watch, and told with each pull until it was taken. Copies moved between holders are
news only when their stamps are.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from node.dht.shelf import Shelf
from node.dht.surroundings import Surroundings
from node.dht.tasks import OwnedTasks
from node.ports import PeerUnreachable
from protocol import limits
from protocol.dht_messages import ChangeNoted, ChangesPulled, PullChanges, PushChange
from protocol.ids import Digest, PeerId
from protocol.messages import Refusal, Reply
from protocol.records import Record

_FOLLOWERS_MAX: Final = 4096
_PUSHES_MAX: Final = 256
"""Pushes under way; beyond it the watching peer finds the change when it next pulls."""

_PUSH_TIMEOUT_S: Final = 10.0
_PUSHING_RANKS: Final = 3
"""How many holders push a change: all would be k times the same, one might die."""

_PAGE_SIZE_MAX_BYTES: Final = 256 * 1024

_OWED_MAX: Final = 1024
"""Writes with early stamps that one watch has not taken, and latest writes that a new watch may be owed."""


@dataclass(slots=True)
class _Follower:
    prefix: str
    is_exact: bool
    lease_ends: float
    start: int
    """Where the watch began: copies of what is stamped earlier are no news."""

    pulled: int
    """The last pull showed what is stamped later than this."""

    owed: dict[Digest, None] = field(default_factory=dict)

    def matches(self, key: str) -> bool:
        return matches(key, self.prefix, is_exact=self.is_exact)

    def owe(self, place: Digest) -> None:
        if len(self.owed) < _OWED_MAX:
            self.owed[place] = None


@dataclass(frozen=True, slots=True)
class _Written:
    """A write that this peer stored lately."""

    at: float
    key: str
    place: Digest
    stamp: int


def matches(key: str, prefix: str, *, is_exact: bool) -> bool:
    """Return whether a watch is interested in ``key``; records without a key interest nobody."""
    return bool(key) and (key == prefix if is_exact else key.startswith(prefix))


class Followers:
    """Owns the leases of watches, and the pushes to them."""

    def __init__(self, surroundings: Surroundings, shelf: Shelf) -> None:
        self._around = surroundings
        self._shelf = shelf
        self._followers: dict[tuple[PeerId, int], _Follower] = {}
        self._pushes = OwnedTasks(limit=_PUSHES_MAX)
        self._written: deque[_Written] = deque(maxlen=_OWED_MAX)
        shelf.on_stored.append(self._record_stored)
        shelf.on_written.append(self._record_written)

    async def close(self) -> None:
        """End all pushes. Idempotent."""
        await self._pushes.close()

    def __len__(self) -> int:
        """Watches that are served."""
        return len(self._followers)

    def member_down(self, peer_id: PeerId) -> None:
        """Forget the watches of a peer that is gone."""
        for entry in [entry for entry in self._followers if entry[0] == peer_id]:
            del self._followers[entry]

    def pull(self, sender: PeerId, request: PullChanges) -> Reply:
        """Return one page of changes, and renew, begin or end the lease of the watch."""
        if not self._lease(sender, request):
            return Refusal(reason="too many watches")
        after = Digest(request.after) if request.after else None
        page = self._shelf.store.changed_since(request.since, after=after, limit=limits.LIST_PAGE_MAX)
        if not page or not request.lease_s:
            return ChangesPulled(records=(), since=request.since, after=request.after, is_end=True)
        records: list[Record] = []
        size = 0
        last = page[0]
        for stored in page:
            if records and size + len(stored.record.value) > _PAGE_SIZE_MAX_BYTES:
                break
            last = stored
            if matches(stored.record.key, request.prefix, is_exact=request.is_exact):
                records.append(stored.record)
                size += len(stored.record.value)
        return ChangesPulled(records=tuple(records), since=last.record.stamp, after=last.digest, is_end=False)

    def _lease(self, sender: PeerId, request: PullChanges) -> bool:
        entry = (sender, request.watch)
        if not request.lease_s:
            self._followers.pop(entry, None)
            return True
        now = asyncio.get_running_loop().time()
        follower = self._followers.get(entry)
        if follower is None:
            own = sum(peer_id == sender for peer_id, _ in self._followers)
            if own >= limits.WATCHES_PER_PEER_MAX or len(self._followers) >= _FOLLOWERS_MAX:
                self._drop_ended()
                return False
            follower = self._followers[entry] = _Follower(
                request.prefix, request.is_exact, now, start=request.since, pulled=request.since
            )
            self._owe_latest(follower, since=now - request.age_ms / 1000)
        follower.lease_ends = now + request.lease_s
        if not request.after:
            follower.pulled = request.since
            self._tell_owed(entry, follower)
        return True

    def _owe_latest(self, follower: _Follower, *, since: float) -> None:
        """Owe to a watch that is new here what was written after it was opened, but stamped too early for a pull."""
        for written in self._written:
            if written.at >= since and written.stamp <= follower.pulled and follower.matches(written.key):
                follower.owe(written.place)

    def _tell_owed(self, entry: tuple[PeerId, int], follower: _Follower) -> None:
        for place in follower.owed:
            record = self._shelf.read_if_possible(place)
            if record is not None:
                self._pushes.start(self._push(entry, record, place))

    def _drop_ended(self) -> None:
        now = asyncio.get_running_loop().time()
        for entry in [entry for entry, follower in self._followers.items() if follower.lease_ends < now]:
            del self._followers[entry]

    def _record_stored(self, record: Record) -> None:
        if not self._followers or not record.key:
            return
        place = self._around.place_of(record.key)
        if self._must_push(place):
            self._push_to_all(record, place, is_early=False)

    def _record_written(self, record: Record) -> None:
        if not record.key:
            return
        place = self._around.place_of(record.key)
        now = asyncio.get_running_loop().time()
        self._written.append(_Written(now, record.key, place, record.stamp))
        for follower in self._followers.values():
            if record.stamp <= follower.pulled and follower.matches(record.key):
                follower.owe(place)
        if self._followers and self._must_push(place):
            self._push_to_all(record, place, is_early=True)

    def _push_to_all(self, record: Record, place: Digest, *, is_early: bool) -> None:
        """Push to whom this is news: all whose pulls would show it, or the others, whom it is owed to."""
        now = asyncio.get_running_loop().time()
        for entry, follower in list(self._followers.items()):
            if follower.lease_ends < now:
                del self._followers[entry]
            elif (record.stamp <= follower.start) == is_early and follower.matches(record.key):
                self._pushes.start(self._push(entry, record, place))

    def _must_push(self, place: Digest) -> bool:
        holders: Sequence[PeerId] = self._around.holders.of(place).peer_ids
        return self._around.local in holders[:_PUSHING_RANKS] or self._around.local not in holders

    async def _push(self, entry: tuple[PeerId, int], record: Record, place: Digest) -> None:
        peer_id, watch = entry
        try:
            reply = await self._around.requester.request(
                peer_id, PushChange(watch=watch, record=record), timeout_s=_PUSH_TIMEOUT_S
            )
        except PeerUnreachable:
            return  # It pulls again, or its lease ends.
        if isinstance(reply, ChangeNoted):
            if not reply.is_watched:
                self._followers.pop(entry, None)
            elif (follower := self._followers.get(entry)) is not None:
                follower.owed.pop(place, None)
