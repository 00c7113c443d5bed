"""Members that are not here: remembered from an earlier run and not met yet, or failed.

Both are pinged now and then. The remembered ones are how a peer without any seed finds its network again; the failed
ones are how islands merge after a cut (memberlist: "gossip to the dead"). One that answers speaks for itself: its
ping carried the accusations, so it comes with a refutation.
"""

import math

from protocol.effects import MachineEffect, MemberChanged
from protocol.limits import REMEMBERED_DEAD_MAX
from protocol.members.local import LocalPeer
from protocol.members.pings import Pings
from protocol.members.table import Member, MemberTable

REMEMBERED_AT_ONCE = 4
"""Remembered members asked in one gossip interval: the first that answers tells of the others."""

RETURNS_AT_ONCE = 16
"""Failed members pinged when one of them came back: a cut that heals seldom frees one alone."""

RETURNS_PAUSE_S = 1.0
"""Least time between two such bursts."""


class Absent:
    """Whom to ping of those that are silent, and when to forget them."""

    def __init__(self, *, local: LocalPeer, table: MemberTable, pings: Pings, now: float) -> None:
        self._local = local
        self._table = table
        self._pings = pings
        self._remembered = [member.peer_id for member in table if member.is_remembered]
        local.random.shuffle(self._remembered)
        self._remembered_due = now if self._remembered else math.inf
        self._failed_due = math.inf
        self._burst_from = -math.inf
        self._is_burst = False

    @property
    def deadline(self) -> float:
        """When the next pings are due."""
        return min(self._remembered_due, self._failed_due)

    def changed(self, changes: list[MemberChanged], *, now: float) -> None:
        """Note who failed, left or came back."""
        for change in changes:
            if change.state in ("failed", "left"):
                self._failed_due = min(self._failed_due, now + self._local.config.dead_retry_s)
            elif change.previous == "failed":
                self._is_burst = True
                self._failed_due = min(self._failed_due, max(now, self._burst_from))
        surplus = len(self._table) - self._table.living_count - REMEMBERED_DEAD_MAX
        if surplus > 0:
            for member in self._dead()[:surplus]:
                self._table.remove(member)

    def wake(self, *, now: float) -> list[MachineEffect]:
        """Ping those whose turn it is; forget the ones that are gone for too long."""
        effects: list[MachineEffect] = []
        if self._remembered_due <= now:
            effects += self._ask_remembered(now=now)
        if self._failed_due <= now:
            effects += self._ask_failed(now=now)
        return effects

    def check_invariants(self) -> None:
        """Assert that the dead are bounded."""
        assert len(self._table) - self._table.living_count <= REMEMBERED_DEAD_MAX

    def _ask_remembered(self, *, now: float) -> list[MachineEffect]:
        asked: list[Member] = []
        while self._remembered and len(asked) < REMEMBERED_AT_ONCE:
            member = self._table.find(self._remembered.pop())
            if member is not None and member.is_remembered:
                asked.append(member)
        self._remembered_due = now + self._local.config.gossip_interval_s if self._remembered else math.inf
        return [self._pings.ping(member, now=now) for member in asked]

    def _ask_failed(self, *, now: float) -> list[MachineEffect]:
        dead = self._dead()
        while dead and dead[0].since + self._local.config.dead_kept_s <= now:
            self._table.remove(dead.pop(0))
        failed = [member for member in dead if member.state == "failed"]
        count = min(len(failed), RETURNS_AT_ONCE if self._is_burst else 1)
        if self._is_burst:
            self._is_burst = False
            self._burst_from = now + RETURNS_PAUSE_S
        self._failed_due = now + self._local.config.dead_retry_s if dead else math.inf
        return [self._pings.ping(member, now=now) for member in self._local.random.sample(failed, count)]

    def _dead(self) -> list[Member]:
        """Return failed and left members, the longest dead first."""
        if len(self._table) == self._table.living_count:
            return []
        return sorted((member for member in self._table if not member.is_living), key=lambda member: member.since)
