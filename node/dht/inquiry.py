"""One question to the holders of one place, hedged: who is slow is not waited for, who failed is replaced.

The first holder is asked alone, after its usual round trip a second, then two, then four. The first "absent" makes
that all at once, and so does doubt from the start.
"""

import asyncio
import functools
import math
from typing import Final, Literal

from node.clock import steady_s
from node.dht.surroundings import Surroundings
from node.ports import PeerUnreachable
from node.shapes import Asked
from protocol.dht_messages import Fetch, Fetched
from protocol.ids import Digest, PeerId
from protocol.messages import Refusal, Reply
from protocol.records import Record, newest
from protocol.statements import majority_of

_HEDGE_MIN_S: Final = 0.002
_HEDGE_MAX_S: Final = 0.5
_QUICKEST_FACTOR: Final = 4
"""A holder that once was slow is not waited for when another is known to be quick."""

_ABSENT_PATIENCE_S: Final = 0.05
"""How long a majority of absent answers waits for somebody who knows better: a new holder may still get its copy."""

_CAREFUL_PATIENCE_S: Final = 0.25
"""How long a careful read waits for a majority before it is content with less."""

_RETRY_S: Final = 0.02


Mode = Literal["default", "careful", "quorum"]
"""What is clear: the first version found; the newest of a majority, or after a while of those who answered; the
newest of a majority and nothing less."""


class Inquiry:
    """Asks the holders of one place which version they have."""

    def __init__(
        self,
        surroundings: Surroundings,
        place: Digest,
        key: str,
        *,
        local: Record | None,
        deadline: float,
    ) -> None:
        """Prepare; ``local`` is what this peer has itself, holder or not, and ``deadline`` is in the loop's time."""
        own = surroundings.holders.of(place)
        self.place = place
        self.answers: dict[PeerId, Record | None] = {}
        """What each holder has; None: it knows of no version."""

        self.newest: Record | None = local
        self._around = surroundings
        self._key = key
        self._view = own.view
        self._counts_holders = False
        self._deadline = deadline
        self._asked: dict[PeerId, float] = {}
        """When each was asked, on the steady clock: some loops tell whole milliseconds only."""

        self._told: dict[PeerId, None] = {}
        self._explained: dict[PeerId, tuple[str, float]] = {}
        """What each answered, and after how many seconds."""

        self._failed: dict[PeerId, None] = {}
        self._stumbled: dict[PeerId, None] = {}
        """Holders that did not answer in time and are asked again."""

        self._requests: dict[PeerId, asyncio.Future[Reply]] = {}
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False
        self._local = local
        if surroundings.local in own.peer_ids:
            self._asked[surroundings.local] = steady_s()
            self._note(surroundings.local, local, 0.0)

    @property
    def holders(self) -> tuple[PeerId, ...]:
        """The holders as they are now, closest first."""
        return self._around.holders.merged(self.place, tuple(self._told))

    async def run(self, mode: Mode) -> bool:
        """Return whether the answer is clear, at the latest at the deadline."""
        started = asyncio.get_running_loop().time()
        self._counts_holders = mode != "default"
        patience_ends = started + (_CAREFUL_PATIENCE_S if mode == "careful" else _ABSENT_PATIENCE_S)
        try:
            return await self._run(mode, started, patience_ends)
        finally:
            self._is_over = True
            for request in self._requests.values():
                request.cancel()

    async def _run(self, mode: Mode, started: float, patience_ends: float) -> bool:
        loop = asyncio.get_running_loop()
        count = 1
        hedge_at = started
        while True:
            now = loop.time()
            holders = self.holders
            if self._is_clear(holders, mode, is_patient=now < patience_ends):
                return True
            if now >= self._deadline or self._is_hopeless(holders):
                return False
            if mode != "default" or any(record is None for record in self.answers.values()):
                hedge_at = self._ask_next(holders, len(holders))
            elif now >= hedge_at or all(peer_id in self._stumbled for peer_id in self._open(holders)):
                hedge_at = self._ask_next(holders, count)
                count = 2 * count if now > started else count
            wake_at = min(self._deadline, hedge_at)
            await self._changed(min(wake_at, patience_ends) if now < patience_ends else wake_at)

    def explained(self) -> list[Asked]:
        """Return who was asked and what each answered."""
        now = steady_s()
        explained = []
        for peer_id, asked_at in self._asked.items():
            answer, seconds = self._explained.get(peer_id) or ("no answer", now - asked_at)
            record = self.answers.get(peer_id)
            version = record.version if record is not None else None
            explained.append(self._around.asked(peer_id, answer, version, seconds))
        return explained

    def behind(self) -> list[PeerId]:
        """Return the holders that answered with less than the newest version."""
        if self.newest is None:
            return []
        holders = self.holders
        return [peer_id for peer_id, record in self.answers.items() if record != self.newest and peer_id in holders]

    def _is_clear(self, holders: tuple[PeerId, ...], mode: Mode, *, is_patient: bool) -> bool:
        answered = [peer_id for peer_id in holders if peer_id in self.answers]
        if len(answered) == len(holders):
            return True
        is_majority = len(answered) >= majority_of(len(holders))
        is_found = any(self.answers[peer_id] is not None for peer_id in answered)
        match mode:
            case "quorum":
                return is_majority
            case "careful":
                return (is_majority and is_found) or ((is_majority or self.newest is not None) and not is_patient)
            case "default":
                return is_found or (is_majority and not is_patient)

    def _is_hopeless(self, holders: tuple[PeerId, ...]) -> bool:
        """Return whether nobody is left to ask nor to wait for."""
        return all(peer_id in self.answers or peer_id in self._failed for peer_id in holders)

    def _open(self, holders: tuple[PeerId, ...]) -> list[PeerId]:
        """Return the holders that were asked and have not answered."""
        return [peer_id for peer_id in holders if peer_id in self._asked and peer_id not in self.answers]

    def _ask_next(self, holders: tuple[PeerId, ...], count: int) -> float:
        """Ask ``count`` more holders; return when the next should be asked unless somebody answered."""
        unasked = [peer_id for peer_id in holders if peer_id not in self._asked]
        if not unasked:
            return math.inf
        now = asyncio.get_running_loop().time()
        for peer_id in self._around.holders.in_order_of_asking(unasked)[:count]:
            self._asked[peer_id] = steady_s()
            self._ask(peer_id)
        return now + self._hedge_after_s(holders)

    def _hedge_after_s(self, holders: tuple[PeerId, ...]) -> float:
        """Return the usual round trip of those asked, or a little more than that of the quickest holder, if less."""
        usual_s = {
            peer_id: self._around.requester.usual_round_trip_s(peer_id)
            for peer_id in holders
            if peer_id != self._around.local
        }
        slowest_asked_s = max((usual_s[peer_id] for peer_id in usual_s if peer_id in self._asked), default=0.0)
        quickest_s = min(usual_s.values(), default=0.0)
        return min(_HEDGE_MAX_S, max(_HEDGE_MIN_S, min(slowest_asked_s, _QUICKEST_FACTOR * quickest_s)))

    def _ask(self, peer_id: PeerId) -> None:
        """Ask one holder, again after each failure, until it answers, is no member any more, or the time is up."""
        left_s = self._deadline - asyncio.get_running_loop().time()
        if self._is_over:
            return
        if left_s <= 0 or not self._around.holders.is_living(peer_id):
            self._failed[peer_id] = None
            self._wake()
            return
        try:
            request = Fetch(place=self.place, view=self._view, counts_holders=self._counts_holders)
            asking = self._around.requester.request(peer_id, request, timeout_s=left_s)
        except PeerUnreachable:
            self._stumble(peer_id)
            return
        answer = self._requests[peer_id] = asyncio.ensure_future(asking)
        answer.add_done_callback(functools.partial(self._ended, peer_id))

    def _ended(self, peer_id: PeerId, request: "asyncio.Future[Reply]") -> None:
        if request.cancelled():
            return
        error = request.exception()
        if self._is_over:
            return
        if error is None:
            self._received(peer_id, request.result())
        elif isinstance(error, PeerUnreachable):
            self._stumble(peer_id)
        else:
            raise error

    def _stumble(self, peer_id: PeerId) -> None:
        self._stumbled[peer_id] = None
        self._wake()
        asyncio.get_running_loop().call_later(_RETRY_S, self._ask, peer_id)

    def _received(self, peer_id: PeerId, reply: Reply) -> None:
        seconds = steady_s() - self._asked[peer_id]
        if isinstance(reply, Fetched) and self._is_believable(reply.record):
            self._told.update((PeerId(holder), None) for holder in reply.holders)
            self._note(peer_id, reply.record, seconds)
        else:
            answer = f"refused: {reply.reason}" if isinstance(reply, Refusal) else "refused: nonsense"
            self._explained[peer_id] = (answer, seconds)
            self._failed[peer_id] = None
        self._wake()

    def _is_believable(self, record: Record | None) -> bool:
        return record is None or record == self._local or (
            record.key in (self._key, "") and self._around.is_genuine(record, self.place)
        )

    def _note(self, peer_id: PeerId, record: Record | None, seconds: float) -> None:
        self.answers[peer_id] = record
        self.newest = newest(self.newest, record)
        self._explained[peer_id] = ("found" if record is not None else "absent", seconds)

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
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
