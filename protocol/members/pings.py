"""Pings and acks: numbers, round-trip times, and what rides on them.

A ping to a suspect or failed member carries the accusations against it before all other news, so that it can
refute at once (Lifeguard 2017, "Buddy System").
"""

import math
from dataclasses import dataclass

from protocol.effects import Tell, TimeSample
from protocol.ids import PeerId
from protocol.limits import MESSAGE_SIZE_MAX_BYTES
from protocol.members.local import LocalPeer
from protocol.members.news import News
from protocol.members.table import Member, MemberTable
from protocol.messages import Ack, Gossip, LeaderClaim, Ping

UPDATES_BUDGET_BYTES = MESSAGE_SIZE_MAX_BYTES - 96
"""Room for updates: less the other fields of a ping or an ack at their longest, the leader claim included."""

UNANSWERED_MAX = 8192
"""Pings whose ack is still welcome; the oldest is given up first."""

RTT_WEIGHT = 0.125
"""Share of a new sample in the smoothed round-trip time (RFC 6298)."""

PROMPT_PAUSE_S = 0.2
"""Least time between two messages that only show a member what it is accused of."""


@dataclass(frozen=True, slots=True)
class RelayOrder:
    """Who asked us to ping, and the number of its own probe."""

    requester: PeerId
    sequence: int


@dataclass(frozen=True, slots=True)
class SentPing:
    """A ping that may still be answered."""

    peer_id: PeerId
    sent_at: float
    relay: RelayOrder | None


class Pings:
    """Makes pings, acks and gossip, and matches acks to pings."""

    def __init__(self, *, local: LocalPeer, table: MemberTable, news: News) -> None:
        self.claim: LeaderClaim | None = None
        """Whom this peer follows, as the core says; rides on every ping and ack."""
        self._local = local
        self._table = table
        self._news = news
        self._sequence = 0
        self._unanswered: dict[int, SentPing] = {}
        self._ran_since = -math.inf

    def ping(self, member: Member, *, now: float, relay: RelayOrder | None = None) -> Tell:
        """Return a new ping to ``member``."""
        self._sequence += 1
        self._unanswered[self._sequence] = SentPing(peer_id=member.peer_id, sent_at=now, relay=relay)
        if len(self._unanswered) > UNANSWERED_MAX:
            del self._unanswered[next(iter(self._unanswered))]
        updates = self._updates(member, first=[], now=now)
        return Tell(member.peer_id, Ping(sequence=self._sequence, updates=updates, claim=self.claim))

    @property
    def last_sequence(self) -> int:
        """The number of the newest ping."""
        return self._sequence

    def ack(self, member: Member, sequence: int, *, now: float, introduce: bool) -> Tell:
        """Return the answer to a ping; the core fills in the network time.

        Args:
            introduce: Put the own descriptor first: the member holds an older one.
        """
        first = [self._table.local.encoded] if introduce else []
        updates = self._updates(member, first=first, now=now)
        return Tell(
            member.peer_id, Ack(sequence=sequence, network_time_ms=0, updates=updates, claim=self.claim)
        )

    def gossip(self, member: Member) -> Tell | None:
        """Return news for ``member``, or None when there are none for it."""
        updates = self._news.take(
            receiver=member.peer_id, members=len(self._table.living), budget_bytes=UPDATES_BUDGET_BYTES
        )
        return Tell(member.peer_id, Gossip(updates=updates)) if updates else None

    def prompt(self, member: Member, *, now: float) -> list[Tell]:
        """Return a message that shows an accused member the accusations, unless it was shown them just now."""
        if not member.accusations or now < member.prompted_at + PROMPT_PAUSE_S:
            return []
        member.prompted_at = now
        return [Tell(member.peer_id, Gossip(updates=tuple(member.encoded_accusations)))]

    def answered(self, member: Member, sequence: int, *, now: float) -> SentPing | None:
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
        rtt_s = now - sent.sent_at
        member.rtt_s = rtt_s if member.rtt_s is None else member.rtt_s + RTT_WEIGHT * (rtt_s - member.rtt_s)
        return [TimeSample(peer_id=member.peer_id, rtt_s=rtt_s, network_time_ms=ack.network_time_ms)]

    def resume(self, now: float) -> None:
        """This process did not run: acks of earlier pings lay in the socket and measure nothing."""
        self._ran_since = now

    def _updates(self, member: Member, *, first: list[bytes], now: float) -> tuple[bytes, ...]:
        if member.accusations:
            member.prompted_at = now
            first = first + member.encoded_accusations
        return self._news.take(
            first=first,
            receiver=member.peer_id,
            members=len(self._table.living),
            budget_bytes=UPDATES_BUDGET_BYTES,
        )
