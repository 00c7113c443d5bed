"""Watches of this peer's users: changes of any key, wherever it is held, at least once.

The watching peer pulls from every member what is newer than its start, again every few seconds, and each pull
renews a lease under which members push changes at once. Pushes make a watch quick, pulls make it complete; what was
written since the watch began and is stamped too early for a pull, members push until it was taken. A cursor is the
stamp of the newest change delivered: any peer can go on from it, a little earlier for late arrivals.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncGenerator
from typing import Final

from node.dht.followers import matches
from node.dht.shelf import Shelf
from node.dht.surroundings import Surroundings
from node.dht.tasks import OwnedTasks
from node.errors import OperationError
from node.ports import PeerUnreachable
from node.service import WatchedChange
from protocol import limits
from protocol.dht_messages import ChangeNoted, ChangesPulled, PullChanges, PushChange
from protocol.errors import StoreError
from protocol.ids import Digest, PeerId
from protocol.messages import Refusal, Reply
from protocol.records import Record, stamp_of

WATCHES_MAX: Final = limits.WATCHES_PER_PEER_MAX
_LEASE_S: Final = 20
_PULL_INTERVAL_S: Final = 5.0
_PULL_TIMEOUT_S: Final = 10.0
_PULLED_AT_ONCE: Final = 8
_PAGES_MAX: Final = 1000

_RESUME_OVERLAP_MS: Final = 60_000
"""How much earlier than its cursor a watch resumes: changes of the other side of a cut arrive late."""

_PULL_OVERLAP_MS: Final = 10_000
_SEEN_MAX: Final = 8192
"""Keys whose last delivered version is remembered; a forgotten one is delivered again."""

_QUEUE_MAX: Final = 1024
"""Changes that wait for a slow reader; those beyond it come again with the next pull."""


class _Watch:
    """One watch: what was seen, what waits to be read, how far each member was pulled."""

    def __init__(self, prefix: str, *, is_exact: bool, start: int, number: int) -> None:
        self.prefix = prefix
        self.is_exact = is_exact
        self.start = start
        self.number = number
        self.began_at = asyncio.get_running_loop().time()
        self.pulled: dict[PeerId, int] = {}
        self.queue: asyncio.Queue[Record] = asyncio.Queue(_QUEUE_MAX)
        self._seen: OrderedDict[str, tuple[int, bytes, bytes]] = OrderedDict()

    def take(self, record: Record) -> bool:
        """Queue a version that is new to this watch; return False when it must come again."""
        if not matches(record.key, self.prefix, is_exact=self.is_exact):
            return True
        order = record.order
        seen = self._seen.get(record.key)
        if seen is not None and seen >= order:
            return True
        if self.queue.full():
            return False
        self.queue.put_nowait(record)
        self._seen[record.key] = order
        self._seen.move_to_end(record.key)
        if len(self._seen) > _SEEN_MAX:
            self._seen.popitem(last=False)
        return True


class Watcher:
    """Owns the watches of this peer's users."""

    def __init__(self, surroundings: Surroundings, shelf: Shelf) -> None:
        self._around = surroundings
        self._shelf = shelf
        self._watches: dict[int, _Watch] = {}
        self._endings = OwnedTasks(limit=WATCHES_MAX)
        self._pulls = OwnedTasks(limit=WATCHES_MAX)
        self._members_changed: dict[int, asyncio.Event] = {}
        shelf.on_stored.append(self._record_stored)
        shelf.on_written.append(self._record_written)

    async def close(self) -> None:
        """End all requests; the generators end with their readers. Idempotent."""
        await self._pulls.close()
        await self._endings.close()

    def member_up(self) -> None:
        """Subscribe at a member that came."""
        for event in self._members_changed.values():
            event.set()

    def pushed(self, request: PushChange) -> Reply:
        """Take a change that a member pushed."""
        found, record = self._watches.get(request.watch), request.record
        if found is None:
            return ChangeNoted(is_watched=False)
        is_genuine = record.key and self._around.is_genuine(record, self._around.place_of(record.key))
        if is_genuine and not found.take(record):
            return Refusal(reason="whoever watches is slow")
        return ChangeNoted(is_watched=True)

    async def watch(self, prefix: str, *, exact: bool, since: str | None) -> AsyncGenerator[WatchedChange, None]:
        """Follow changes until closed; see ``node.service.PeerService``."""
        start = self._start_of(since)
        if len(self._watches) >= WATCHES_MAX:
            raise OperationError("too-many-requests", f"{WATCHES_MAX} watches are open", next_step="close some")
        watch = _Watch(prefix, is_exact=exact, start=start, number=self._around.random.getrandbits(63))
        self._watches[watch.number] = watch
        self._members_changed[watch.number] = asyncio.Event()
        pulling = self._pulls.start(self._pull_for_ever(watch))
        newest = start
        try:
            while True:
                record = await watch.queue.get()
                newest = max(newest, record.stamp)
                yield WatchedChange(record=record, cursor=f"{newest:016x}")
        finally:
            del self._watches[watch.number]
            del self._members_changed[watch.number]
            if pulling is not None:
                pulling.cancel()
            self._endings.start(self._end(watch))

    def _start_of(self, since: str | None) -> int:
        now_ms = self._around.time.now_ms()
        if since is None:
            return stamp_of(now_ms)
        try:
            stamp = int(since, 16)
        except ValueError:
            stamp = -1
        if not 0 <= stamp < 2**63:
            raise OperationError("bad-request", "that is no cursor of a watch", next_step="leave it out")
        return max(0, stamp - stamp_of(_RESUME_OVERLAP_MS))

    def _record_stored(self, record: Record) -> None:
        for watch in self._watches.values():
            if record.stamp > watch.start:
                watch.take(record)

    def _record_written(self, record: Record) -> None:
        for watch in self._watches.values():
            watch.take(record)

    async def _pull_for_ever(self, watch: _Watch) -> None:
        changed = self._members_changed[watch.number]
        while True:
            changed.clear()
            turns = asyncio.Semaphore(_PULLED_AT_ONCE)
            peers = self._around.holders.placement.peer_ids
            await asyncio.gather(*(self._pull(watch, peer_id, turns) for peer_id in peers))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PULL_INTERVAL_S):
                    await changed.wait()

    async def _pull(self, watch: _Watch, peer_id: PeerId, turns: asyncio.Semaphore) -> None:
        """Take what one peer has that is newer than what was pulled from it."""
        async with turns:
            if peer_id == self._around.local:
                self._pull_local(watch)
                return
            since = max(watch.start, watch.pulled.get(peer_id, 0) - stamp_of(_PULL_OVERLAP_MS))
            after = b""
            for _ in range(_PAGES_MAX):
                request = PullChanges(
                    watch=watch.number,
                    prefix=watch.prefix,
                    is_exact=watch.is_exact,
                    since=since,
                    after=after,
                    lease_s=_LEASE_S,
                    age_ms=int((asyncio.get_running_loop().time() - watch.began_at) * 1000) + 1,
                )
                try:
                    reply = await self._around.requester.request(peer_id, request, timeout_s=_PULL_TIMEOUT_S)
                except PeerUnreachable:
                    return
                if not isinstance(reply, ChangesPulled) or reply.is_end or (reply.since, reply.after) <= (since, after):
                    return
                if not await self._take_all(watch, reply.records):
                    return
                since, after = reply.since, reply.after
                watch.pulled[peer_id] = since

    async def _take_all(self, watch: _Watch, records: tuple[Record, ...]) -> bool:
        """Queue a page of another peer; return False when the reader is too slow for it."""
        for index, record in enumerate(records, start=1):
            is_genuine = record.key and self._around.is_genuine(record, self._around.place_of(record.key))
            if is_genuine and not watch.take(record):
                return False
            if index % 16 == 0:
                await asyncio.sleep(0)
        return True

    def _pull_local(self, watch: _Watch) -> None:
        since = max(watch.start, watch.pulled.get(self._around.local, 0) - stamp_of(_PULL_OVERLAP_MS))
        after: Digest | None = None
        for _ in range(_PAGES_MAX):
            try:
                page = self._shelf.store.changed_since(since, after=after)
            except StoreError:
                return  # The other holders have it too.
            if not page or not all(watch.take(stored.record) for stored in page):
                return
            since, after = page[-1].record.stamp, page[-1].digest
            watch.pulled[self._around.local] = since

    async def _end(self, watch: _Watch) -> None:
        """Tell the members that nobody watches any more; who misses it finds out with its next push."""
        request = PullChanges(
            watch=watch.number, prefix=watch.prefix, is_exact=watch.is_exact, since=0, lease_s=0
        )
        for peer_id in self._around.holders.placement.peer_ids:
            if peer_id != self._around.local:
                with contextlib.suppress(PeerUnreachable):
                    await self._around.requester.request(peer_id, request, timeout_s=_PULL_TIMEOUT_S)
