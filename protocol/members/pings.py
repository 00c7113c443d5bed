"""Pings and acks: numbers, round-trip times, and what rides on them.

A ping to a suspect or failed member carries the accusations against it before all other news, so that it can
refute at once (Lifeguard 2017, "Buddy System").
"""

import math
import random
from collections.abc import Iterable

import msgspec

from protocol.effects import Tell, TimeSample
from protocol.ids import PeerId
from protocol.limits import MESSAGE_SIZE_MAX_BYTES, UPDATES_PER_MESSAGE_MAX
from protocol.members.news import ITEM_OVERHEAD_BYTES, News
from protocol.members.table import Member, MemberTable
from protocol.messages import Ack, Gossip, LeaderClaim, Ping

UPDATES_BUDGET_BYTES = MESSAGE_SIZE_MAX_BYTES - 96
"""Room for updates: less the other fields of a ping or an ack at their longest, the leader claim included."""

UNANSWERED_MAX = 1024
"""Pings whose ack is still welcome; the oldest is given up first."""

ROUND_TRIP_WEIGHT = 0.125
"""Share of a new sample in the smoothed round-trip time (RFC 6298)."""

_STEP_BITS = 31
"""Sequence numbers rise by at most so much: 63 bits last for four billion pings."""

PROMPT_PAUSE_S = 0.2
"""Least time between two messages that only show a member what it is accused of."""


class SentPing(msgspec.Struct, frozen=True):
    """A ping that may still be answered."""

    peer_id: PeerId
    sent_at: float


class Pings:
    """Makes pings, acks and gossip, and matches acks to pings."""

    def __init__(self, *, table: MemberTable, news: News, random: random.Random) -> None:
        self.claim: LeaderClaim | None = None
        """Whom this peer follows, as the core says; rides on every ping and ack."""
        self._table = table
        self._news = news
        self._random = random
        self._sequence = 0
        self._unanswered: dict[int, SentPing] = {}
        self._ran_since = -math.inf

    @property
    def last_sequence(self) -> int:
        """The number of the newest ping."""
        return self._sequence

    def ping(self, member: Member, *, now: float, carries_news: bool = True) -> Tell:
        """Return a new ping to ``member``."""
        # Not to be guessed: whoever repeats it received it, at the address that the member says is its own.
        self._sequence += 1 + self._random.getrandbits(_STEP_BITS)
        self._unanswered[self._sequence] = SentPing(peer_id=member.peer_id, sent_at=now)
        if len(self._unanswered) > UNANSWERED_MAX:
            del self._unanswered[next(iter(self._unanswered))]
        updates = self._updates(member, first=[], now=now) if carries_news else ()
        return Tell(member.peer_id, Ping(sequence=self._sequence, updates=updates, claim=self.claim))

    def ack(self, member: Member, sequence: int, *, now: float, introduce: bool) -> Tell:
        """Return the answer to a ping; the core fills in what its wall clock shows.

        Args:
            introduce: Put the own descriptor first: the member holds an older one.
        """
        first = [self._table.local.descriptor.encoded] if introduce else []
        updates = self._updates(member, first=first, now=now)
        return Tell(member.peer_id, Ack(sequence=sequence, wall_ms=0, updates=updates, claim=self.claim))

    def gossip(self, member: Member) -> list[Tell]:
        """Return a message with news for ``member``; none when there are none for it."""
        updates = self._news.take(
            receiver=member.peer_id, members=self._table.living_count, budget_bytes=UPDATES_BUDGET_BYTES
        )
        return [Tell(member.peer_id, Gossip(updates=updates))] if updates else []

    def prompt(self, member: Member, *, now: float) -> list[Tell]:
        """Return a message that shows an accused member the accusations, unless it was shown them just now."""
        if not member.accusations or now < member.prompted_at + PROMPT_PAUSE_S:
            return []
        member.prompted_at = now
        return [Tell(member.peer_id, Gossip(updates=tuple(member.encoded_accusations)))]

    def answered(self, member: Member, sequence: int) -> SentPing | None:
        """Match an ack to its ping; None when this member was not asked, or answered before."""
        sent = self._unanswered.get(sequence)
        if sent is None or sent.peer_id != member.peer_id:
            return None
        del self._unanswered[sequence]
        return sent

    def time_sample(self, member: Member, sent: SentPing, ack: Ack, *, now: float) -> list[TimeSample]:
        """Smooth the member's round-trip time and return the sample; none when a stall lies in between."""
        if sent.sent_at < self._ran_since:
            return []
        round_trip_s = now - sent.sent_at
        known_s = round_trip_s if member.round_trip_s is None else member.round_trip_s
        member.round_trip_s = known_s + ROUND_TRIP_WEIGHT * (round_trip_s - known_s)
        return [TimeSample(peer_id=member.peer_id, wall_ms=ack.wall_ms, round_trip_s=round_trip_s)]

    def resume(self, now: float) -> None:
        """This process did not run: acks of earlier pings lay in the socket and measure nothing."""
        self._ran_since = now

    def check_invariants(self) -> None:
        """Assert that the pings that are waited for are bounded."""
        assert len(self._unanswered) <= UNANSWERED_MAX

    def _updates(self, member: Member, *, first: list[bytes], now: float) -> tuple[bytes, ...]:
        if member.accusations:
            member.prompted_at = now
            first = first + member.encoded_accusations
        return self._news.take(
            first=first,
            receiver=member.peer_id,
            members=self._table.living_count,
            budget_bytes=UPDATES_BUDGET_BYTES,
        )


def pages_of(evidence: Iterable[bytes]) -> list[Gossip]:
    """Return as few messages as carry ``evidence`` in its order."""
    pages: list[list[bytes]] = []
    room = 0
    for encoded in evidence:
        size = len(encoded) + ITEM_OVERHEAD_BYTES
        if size > room or len(pages[-1]) == UPDATES_PER_MESSAGE_MAX:
            pages.append([])
            room = UPDATES_BUDGET_BYTES
        pages[-1].append(encoded)
        room -= size
    return [Gossip(updates=tuple(page)) for page in pages]
