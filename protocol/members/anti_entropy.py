"""Anti-entropy: pairs of members compare digests of their tables and exchange the evidence where they differ.

Gossip may miss somebody; this repairs it (Demers et al. 1987). A digest covers the descriptors of the living in one
of sixteen buckets; who differs answers with all evidence of that bucket, bounded, and with its own digests, so that
one round trip unites both tables. Exchanges follow each other fast after a change and seldom when the table rests.
"""

import hashlib
import math

from protocol.effects import MachineEffect, Tell
from protocol.ids import PeerId
from protocol.members.local import LocalPeer
from protocol.members.pings import pages_of
from protocol.members.table import Member, MemberTable
from protocol.messages import Sync

BUCKETS = 16
"""Buckets of the table, by the first four bits of the peer id."""

PAGES_MAX = 32
"""Messages in one answer; a larger difference takes several exchanges."""

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
        self._due = math.inf
        self._digests: tuple[bytes, ...] = ()
        self._digests_version = -1
        self._plan(now)

    @property
    def deadline(self) -> float:
        """When the next exchange starts."""
        return self._due

    def changed(self, *, is_arrival: bool, now: float) -> None:
        """Note that somebody came or went: others may have missed it, or know of more."""
        pause_s = ARRIVAL_PAUSE_S if is_arrival else DEPARTURE_PAUSE_S
        self._pause_s = min(pause_s, self._local.config.sync_interval_s)
        if self._partner is None:
            due = self._due
            self._plan(now)
            self._due = min(due, self._due)

    def sync_with(self, member: Member, *, members: int, now: float) -> None:
        """Compare tables with a contact that says it knows ``members``, unless this peer knows as many."""
        known = sum(other.is_living and not other.is_remembered for other in self._table)
        if members > known and self._partner is None:
            self._partner = member.peer_id
            self._due = min(self._due, now + FIRST_PAUSE_S)

    def wake(self, *, now: float) -> list[MachineEffect]:
        """Start the exchange that is due."""
        if self._due > now:
            return []
        partner = self._partner or self._random_partner()
        self._partner = None
        self._plan(now)
        self._pause_s = min(2 * self._pause_s, self._local.config.sync_interval_s)
        return [] if partner is None else [Tell(partner, Sync(buckets=self._buckets()))]

    def agrees(self, sync: Sync) -> bool:
        """Return whether another table is the same as far as digests tell."""
        return sync.buckets == self._buckets()

    def answer(self, sync: Sync, *, sender: Member) -> list[MachineEffect]:
        """Return the evidence of the buckets that differ and, in the first half of an exchange, the own digests."""
        differs = [theirs != own for theirs, own in zip(sync.buckets, self._buckets(), strict=True)]
        if not any(differs):
            return []
        members = [
            member
            for member in self._table
            if differs[_bucket_of(member.peer_id)] and member is not sender and not member.is_remembered
        ]
        self._local.random.shuffle(members)  # when they are too many, the next answer brings others
        members.sort(key=lambda member: not member.is_living)
        pages = pages_of(evidence for member in members for evidence in member.encoded_evidence)[:PAGES_MAX]
        effects: list[MachineEffect] = [Tell(sender.peer_id, page) for page in pages]
        if not sync.is_reply:
            effects.append(Tell(sender.peer_id, Sync(buckets=self._buckets(), is_reply=True)))
        return effects

    def _plan(self, now: float) -> None:
        self._due = now + self._pause_s * (0.75 + 0.5 * self._local.random.random())

    def _random_partner(self) -> PeerId | None:
        partners = [member.peer_id for member in self._table.living_others() if member.state == "alive"]
        return self._local.random.choice(partners) if partners else None

    def _buckets(self) -> tuple[bytes, ...]:
        if self._digests_version != self._table.version:
            digests = [hashlib.blake2b(digest_size=8) for _ in range(BUCKETS)]
            for member in self._table:
                if member.is_living and not member.is_remembered:
                    digests[_bucket_of(member.peer_id)].update(hashlib.sha256(member.encoded).digest())
            self._digests = tuple(digest.digest() for digest in digests)
            self._digests_version = self._table.version
        return self._digests


def _bucket_of(peer_id: PeerId) -> int:
    return peer_id[0] >> 4
