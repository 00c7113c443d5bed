"""Anti-entropy: pairs of members compare digests of their tables and exchange the evidence where they differ.

Gossip may miss somebody; this repairs it (Demers et al. 1987). A digest covers the descriptors of the living in one
of sixteen buckets. Who differs answers with its own digests and with evidence: of exactly those that one of both misses
where the digests tell which they are, else of the whole bucket, unless the other counts more and so will tell itself.
Exchanges follow each other fast after a change and seldom when the table rests.
"""

import math

from protocol.effects import MachineEffect, MemberChanged, Tell
from protocol.ids import PeerId
from protocol.members.digests import BUCKETS, TOLD_EXACTLY_MAX, difference_of, explained
from protocol.members.local import LocalPeer
from protocol.members.pings import UPDATES_BUDGET_BYTES, pages_of
from protocol.members.table import LIVING_STATES, Member, MemberTable
from protocol.messages import Gossip, Sync

PAGES_MAX = 32
"""Messages in one answer; a larger difference takes several exchanges."""

_WHOLE_BUCKETS_BYTES = PAGES_MAX * UPDATES_BUDGET_BYTES * 7 // 8
"""Evidence in one answer when it is more than one bucket; the rest is lost at the ends of messages."""

ARRIVAL_PAUSE_S = 0.2
"""Pause before the next exchange once somebody came; doubles up to ``sync_interval_s``."""

DEPARTURE_PAUSE_S = 0.6
"""The same once somebody went: gossip brings that to everybody by itself, and tables that are compared meanwhile only
differ because it is on its way."""

FIRST_PAUSE_S = 0.02
"""A newcomer asks its contact so soon for its table: what other contacts say meanwhile need not be asked again."""


class AntiEntropy:
    """When to compare tables with whom, and what to answer."""

    def __init__(self, *, local: LocalPeer, table: MemberTable, now: float) -> None:
        self._local = local
        self._table = table
        self._pause_s = local.config.sync_interval_s
        self._partner: PeerId | None = None
        self._asked: PeerId | None = None
        """Whom the last exchange was started with."""
        self._asked_version = -1
        """The table as it was then."""
        self._due = math.inf
        self._plan(now)

    @property
    def deadline(self) -> float:
        """When the next exchange starts."""
        return self._due

    def changed(self, changes: list[MemberChanged], *, now: float) -> None:
        """Note who came or went: others may have missed it, or know of more."""
        came = [
            change.state in LIVING_STATES
            for change in changes
            if (change.state in LIVING_STATES) != (change.previous in LIVING_STATES)
        ]
        if not came:
            return
        pause_s = ARRIVAL_PAUSE_S if any(came) else DEPARTURE_PAUSE_S
        self._pause_s = min(pause_s, self._local.config.sync_interval_s)
        if self._partner is None:
            due = self._due
            self._plan(now)
            self._due = min(due, self._due)

    def sync_with(self, member: Member, *, members: int, now: float) -> None:
        """Compare tables with a contact that says it knows ``members``, unless this peer knows as many.

        A newcomer asks its first contact in any case: of those who join at the same moment neither knows yet.
        """
        if self._partner is None and (self._asked is None or members > self._table.digest.total):
            self._ask_soon(member, now)

    def wake(self, *, now: float) -> list[MachineEffect]:
        """Start the exchange that is due."""
        if self._due > now:
            return []
        partner = self._partner or self._random_partner()
        self._partner = None
        self._plan(now)
        self._pause_s = min(2 * self._pause_s, self._local.config.sync_interval_s)
        if partner is None:
            return []
        self._asked, self._asked_version = partner, self._table.version
        return [Tell(partner, Sync(buckets=self._table.digest.buckets))]

    def agrees(self, sync: Sync) -> bool:
        """Return whether another table is the same as far as digests tell."""
        return sync.buckets == self._table.digest.buckets

    def answer(self, sync: Sync, *, sender: Member, now: float) -> list[MachineEffect]:
        """Return the evidence where tables differ and, in the first half of an exchange, the own digests."""
        if self.agrees(sync):
            return []
        effects: list[MachineEffect] = [Tell(sender.peer_id, page) for page in self._pages(sync, sender)]
        if not sync.is_reply:
            effects.append(Tell(sender.peer_id, Sync(buckets=self._table.digest.buckets, is_reply=True)))
        elif sender.peer_id == self._asked and self._asked_version != self._table.version:
            self._ask_soon(sender, now)  # it brought something, and may have more
        return effects

    def _pages(self, sync: Sync, sender: Member) -> list[Gossip]:
        """Return messages with the evidence that the other table may miss: whole buckets, as far as they fit."""
        buckets = [bucket for bucket in range(BUCKETS) if sync.buckets[bucket] != self._table.digest.buckets[bucket]]
        self._local.random.shuffle(buckets)  # when they are too many, the next answer brings others
        evidence: list[bytes] = []
        room = _WHOLE_BUCKETS_BYTES
        for bucket in buckets:
            more = self._evidence_in(bucket, sync, sender)
            room -= sum(map(len, more))
            if room < 0 and evidence:
                break
            evidence += more
        return pages_of(evidence)[:PAGES_MAX]

    def _evidence_in(self, bucket: int, sync: Sync, sender: Member) -> list[bytes]:
        more, difference = difference_of(self._table.digest.buckets[bucket], sync.buckets[bucket])
        members = self._table.in_bucket(bucket)
        missing = explained([member.mark for member in members], difference)
        if missing:
            members = [members[position] for position in missing]
        elif more < -TOLD_EXACTLY_MAX if sync.is_reply else 0 > more >= -TOLD_EXACTLY_MAX:
            # The other's answer is still on its way; or it may tell which those are that only it has. It cannot know
            # who is gone. Where it needs more than that, it gets all when the two ask the other way round.
            members = [member for member in members if not member.is_living]
        else:
            # When they are too many for one answer, the next one brings others.
            first = self._local.random.randrange(len(members) or 1)
            members = members[first:] + members[:first]
            members = [member for member in members if member.is_living] + [
                member for member in members if not member.is_living
            ]
        return [
            evidence
            for member in members
            if member is not sender and not member.is_remembered
            for evidence in member.encoded_evidence
        ]

    def _ask_soon(self, member: Member, now: float) -> None:
        self._partner = member.peer_id
        self._due = min(self._due, now + FIRST_PAUSE_S)

    def _plan(self, now: float) -> None:
        self._due = now + self._pause_s * (0.75 + 0.5 * self._local.random.random())

    def _random_partner(self) -> PeerId | None:
        passed_over = {self._local.peer_id, *self._table.suspects}
        partners = [peer_id for peer_id in self._table.living if peer_id not in passed_over]
        return self._local.random.choice(partners) if partners else None
