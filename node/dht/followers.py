"""The watches of other peers that this one serves: each change that it stores is pushed to those who watch it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(slots=True)
class _Follower:
    prefix: str
    is_exact: bool
    lease_ends: float


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
        shelf.on_stored.append(self._record_stored)

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
        if entry not in self._followers:
            own = sum(peer_id == sender for peer_id, _ in self._followers)
            if own >= limits.WATCHES_PER_PEER_MAX or len(self._followers) >= _FOLLOWERS_MAX:
                self._drop_ended()
                return False
        ends = asyncio.get_running_loop().time() + request.lease_s
        self._followers[entry] = _Follower(request.prefix, request.is_exact, ends)
        return True

    def _drop_ended(self) -> None:
        now = asyncio.get_running_loop().time()
        for entry in [entry for entry, follower in self._followers.items() if follower.lease_ends < now]:
            del self._followers[entry]

    def _record_stored(self, record: Record) -> None:
        if not self._followers or not record.key or not self._must_push(record.key):
            return
        now = asyncio.get_running_loop().time()
        for entry, follower in list(self._followers.items()):
            if follower.lease_ends < now:
                del self._followers[entry]
            elif matches(record.key, follower.prefix, is_exact=follower.is_exact):
                self._pushes.start(self._push(entry, record))

    def _must_push(self, key: str) -> bool:
        holders: Sequence[PeerId] = self._around.holders.of(self._around.place_of(key)).peer_ids
        return self._around.local in holders[:_PUSHING_RANKS] or self._around.local not in holders

    async def _push(self, entry: tuple[PeerId, int], record: Record) -> None:
        peer_id, watch = entry
        try:
            reply = await self._around.requester.request(
                peer_id, PushChange(watch=watch, record=record), timeout_s=_PUSH_TIMEOUT_S
            )
        except PeerUnreachable:
            return  # It pulls again, or its lease ends.
        if not isinstance(reply, ChangeNoted) or not reply.is_watched:
            self._followers.pop(entry, None)
