"""One version on its way to its holders.

All holders are asked at once. The version is acknowledged when all living ones synced it, or after 100 ms with a
majority of them (DESIGN section 1.4). Who holds is asked anew whenever something happens: a holder that dies makes
room for the next closest, and a holder that knows a closer member says so. Whoever has not answered by then is
still asked for a while in the background.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Literal

from node.clock import steady_s
from node.dht.keeping import Keeper
from node.dht.outbox import replicas, transfer_timeout_s
from node.dht.surroundings import Surroundings
from node.dht.tasks import OwnedTasks
from node.ports import PeerUnreachable, StoredRecord
from node.shapes import Asked
from protocol.dht_messages import RefusalReason, Store, Stored
from protocol.ids import PeerId
from protocol.messages import Refusal, Reply
from protocol.records import Head
from protocol.statements import majority_of

PATIENCE_S: Final = 0.1
"""How long a majority waits for the other holders."""

_REQUEST_TIMEOUT_S: Final = 6.0
"""One request, with the exchange's own repetitions. Long, since an answer to a request that was given up is lost work:
when all write at once, a holder may need seconds for what it was asked."""

_QUIET_AFTER_S: Final = 0.5
"""How long a write that was acknowledged keeps its place for holders that have not answered."""

_AFTERWARDS_S: Final = 15.0
"""How long a holder that did not answer is still asked; by then a verdict has made others repair it."""

_RETRY_MIN_S: Final = 0.02
_RETRY_MAX_S: Final = 0.5

Verdict = Literal["synced", "stale", "too few", "late"]


class Storing:
    """Brings one version to its holders and counts who has it."""

    def __init__(
        self,
        surroundings: Surroundings,
        keeper: Keeper,
        tasks: OwnedTasks,
        stored: StoredRecord,
        *,
        deadline: float,
    ) -> None:
        """Prepare; ``deadline`` is in the loop's time. ``tasks`` owns the requests, which outlive this operation."""
        self._around = surroundings
        self._keeper = keeper
        self._tasks = tasks
        self._stored = stored
        self._request = Store(
            records=(stored.record,),
            places=() if stored.record.key else (stored.digest,),
            view=surroundings.holders.of(stored.digest).view,
        )
        self._version = stored.record.version
        self._deadline = deadline
        self._started = asyncio.get_running_loop().time()
        self._asked: dict[PeerId, float] = {}
        """When each was asked, on the steady clock: some loops tell whole milliseconds only."""

        self._told: dict[PeerId, None] = {}
        self._synced: dict[PeerId, None] = {}
        self._failed: dict[PeerId, None] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._is_superseded = False
        self._on_quiet: Callable[[], None] | None = None
        self.refused: dict[PeerId, RefusalReason] = {}
        self.newer: Head | None = None
        """The newest version that some holder has instead."""

        self.existed = False
        self.explained: dict[PeerId, Asked] = {}

    @property
    def wanted(self) -> tuple[PeerId, ...]:
        """The holders as they are now, closest first."""
        return self._around.holders.merged(self._stored.digest, tuple(self._told))

    @property
    def synced(self) -> list[PeerId]:
        """Those of the holders that have it on disk, closest first."""
        return [peer_id for peer_id in self.wanted if peer_id in self._synced]

    async def run(self) -> Verdict:
        """Return once the outcome is clear, or "late" at the deadline."""
        loop = asyncio.get_running_loop()
        self._ask_all()
        while True:
            now = loop.time()
            verdict = self._verdict(now)
            if verdict is not None:
                self._is_superseded = verdict == "stale"
                self._note_silent()
                return verdict
            patience_ends = self._started + PATIENCE_S
            wake_at = min(self._deadline, patience_ends) if now < patience_ends else self._deadline
            await self._changed(wake_at)
            self._ask_all()

    def call_when_quiet(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once no holder is waited for any more, soon in any case: slow ones slow writers down."""
        self._on_quiet = callback
        if not self._call_if_quiet():
            asyncio.get_running_loop().call_later(_QUIET_AFTER_S, self._call_now)

    def _call_if_quiet(self) -> bool:
        is_quiet = all(
            peer_id in self._synced or peer_id in self.refused or peer_id in self._failed for peer_id in self._asked
        )
        if is_quiet or self._is_superseded:
            self._call_now()
            return True
        return False

    def _call_now(self) -> None:
        callback, self._on_quiet = self._on_quiet, None
        if callback is not None:
            callback()

    def _verdict(self, now: float) -> Verdict | None:
        if self.newer is not None:
            return "stale"
        wanted = self.wanted
        synced = sum(peer_id in self._synced for peer_id in wanted)
        lost = sum(peer_id in self.refused or peer_id in self._failed for peer_id in wanted)
        enough = majority_of(len(wanted))
        if synced >= enough and (synced + lost == len(wanted) or now >= self._started + PATIENCE_S):
            return "synced"
        if len(wanted) - lost < enough:
            return "too few"
        return "late" if now >= self._deadline else None

    def _ask_all(self) -> None:
        for peer_id in self.wanted:
            if peer_id in self._asked:
                continue
            self._asked[peer_id] = steady_s()
            ask = self._ask_local() if peer_id == self._around.local else self._ask(peer_id)
            if not self._tasks.start(ask):
                self._failed[peer_id] = None

    async def _ask_local(self) -> None:
        outcomes = await self._keeper.take([self._stored], sender=self._around.local, is_replica=False)
        self._answered(self._around.local, Stored(outcomes=tuple(outcomes)))

    async def _ask(self, peer_id: PeerId) -> None:
        """Ask one holder until it answers, is no member any more, or the time is up."""
        loop = asyncio.get_running_loop()
        gives_up = max(self._deadline, self._started + _AFTERWARDS_S)
        pause_s = _RETRY_MIN_S
        timeout_s = transfer_timeout_s(_REQUEST_TIMEOUT_S, len(self._stored.record.value))
        request = self._request
        while not self._is_superseded:
            left_s = gives_up - loop.time()
            if left_s <= 0 or not self._around.holders.is_living(peer_id):
                break
            try:
                reply = await self._around.requester.request(peer_id, request, timeout_s=min(left_s, timeout_s))
            except PeerUnreachable:
                self._wake()  # perhaps it is no holder any more
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _RETRY_MAX_S)
                if loop.time() > self._deadline:
                    request = replicas([self._stored])  # Late news no longer is a new version of this moment.
                continue
            self._answered(peer_id, reply)
            return
        self._failed[peer_id] = None
        self._wake()

    def _answered(self, peer_id: PeerId, reply: Reply) -> None:
        seconds = steady_s() - self._asked[peer_id]
        answer, version = "refused: nonsense", None
        if isinstance(reply, Stored) and len(reply.outcomes) == 1:
            outcome = reply.outcomes[0]
            self.existed = self.existed or outcome.existed
            self._told.update((PeerId(holder), None) for holder in reply.holders)
            answer, version = outcome.outcome, self._version
            if outcome.outcome == "synced":
                self._synced[peer_id] = None
            elif outcome.outcome == "stale" and outcome.newer is not None and self._is_newer(outcome.newer):
                self.newer = max(self.newer or outcome.newer, outcome.newer, key=lambda head: head.order)
                version = outcome.newer.version
            else:
                self.refused[peer_id] = outcome.reason or "invalid"
                answer, version = f"refused: {self.refused[peer_id]}", None
        else:
            self.refused[peer_id] = "store-failed"
            answer = f"refused: {reply.reason}" if isinstance(reply, Refusal) else answer
        self.explained[peer_id] = self._around.asked(peer_id, answer, version, seconds)
        self._wake()

    def _is_newer(self, head: Head) -> bool:
        """Return whether a holder's excuse is proved: it could name any version to keep us from writing."""
        return head.order > self._stored.record.order and self._around.is_genuine(head, self._stored.digest)

    def _note_silent(self) -> None:
        now = steady_s()
        for peer_id, asked_at in self._asked.items():
            if peer_id not in self.explained:
                self.explained[peer_id] = self._around.asked(peer_id, "no answer", None, now - asked_at)

    async def _changed(self, wake_at: float) -> None:
        """Wait for an answer or a failure, at most until ``wake_at``."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_at(wake_at, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

    def _wake(self) -> None:
        if self._on_quiet is not None:
            self._call_if_quiet()
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
