"""Crashes: an operating system that refuses connections proves a death in milliseconds (DESIGN section 6).

Two distinct observers that were refused by the same boot are a verdict. Whoever loses a link tries at once; whoever
hears that another was refused tries as well when its turn comes, the nearest in the ring first: a second observer is
found even when those who held the other links died too. An observer that nobody living can second is refused three
times before it decides alone.
"""

import math
from dataclasses import dataclass

from protocol.effects import MachineEffect, TryConnection
from protocol.ids import PeerId
from protocol.members.judge import Judge
from protocol.members.local import LocalPeer
from protocol.members.spreading import Spreading
from protocol.members.table import Member, MemberTable

LONE_REFUSALS = 3
"""Refusals, ``refused_retry_s`` apart, after which a lone observer decides."""

SECOND_STEP_S = 0.02
"""Time between the turns of two neighbours in the ring to second an observer: the word of the first spares the others
theirs. Were all to try at once, fifteen deaths among fifty would keep two cores busy for half a second."""

SECOND_PAUSE_S = 0.5
"""Another observer is not seconded while the outcome of an own try may still come."""


@dataclass(slots=True)
class Case:
    """A member that is being tried for a crash."""

    boot: int
    tried_at: float
    retry_at: float = math.inf
    refusals: int = 0
    counted_at: float = -math.inf


class Crashes:
    """The open cases, at most one for each living member."""

    def __init__(self, *, local: LocalPeer, table: MemberTable, judge: Judge, spreading: Spreading) -> None:
        self._local = local
        self._table = table
        self._judge = judge
        self._spreading = spreading
        self._cases: dict[PeerId, Case] = {}

    @property
    def deadline(self) -> float:
        """When the next connection is to be tried."""
        return min([case.retry_at for case in self._cases.values()]) if self._cases else math.inf

    def link_lost(self, member: Member, *, now: float) -> list[MachineEffect]:
        """Try whether somebody still listens there."""
        self._case_of(member, now=now).tried_at = now
        return [TryConnection(member.descriptor)]

    def another_refused(self, member: Member, *, now: float) -> None:
        """Plan to second another observer; the link that this peer may hold tells the same."""
        case = self._cases.get(member.peer_id)
        if not self._may_crash(member) or (case is not None and now < case.tried_at + SECOND_PAUSE_S):
            return
        case = self._case_of(member, now=now)
        between = self._table.steps_to(member.peer_id) - 1
        case.retry_at = min(case.retry_at, now + between * SECOND_STEP_S)

    def refused(self, member: Member, *, boot: int, now: float) -> list[MachineEffect]:
        """Count a refusal: accuse, and tell those who matter at once."""
        if boot != member.descriptor.boot or not self._may_crash(member):
            return []
        effects: list[MachineEffect] = []
        if self._judge.accuse(member, "refused", now=now):
            effects += self._spreading.tell_refusal(member)
            self._spreading.schedule(now=now, pause_s=self._local.config.gossip_interval_s)
        if member.is_living:
            self._count(member, self._case_of(member, now=now), now=now)
        return effects

    def wake(self, *, now: float) -> list[MachineEffect]:
        """Try the connections that are due."""
        effects: list[MachineEffect] = []
        for peer_id, case in list(self._cases.items()):
            if case.retry_at <= now:
                case.retry_at = math.inf
                member = self._table.find(peer_id)
                if member is not None:
                    effects += self.link_lost(member, now=now)
        return effects

    def close(self, peer_id: PeerId) -> None:
        """Forget the case: the member failed, left, refuted, or runs anew."""
        self._cases.pop(peer_id, None)

    def check_invariants(self) -> None:
        """Assert that every case is about a living member."""
        for peer_id in self._cases:
            member = self._table.find(peer_id)
            assert member is not None and member.is_living

    def _case_of(self, member: Member, *, now: float) -> Case:
        case = self._cases.get(member.peer_id)
        if case is None or case.boot != member.descriptor.boot:
            case = self._cases[member.peer_id] = Case(boot=member.descriptor.boot, tried_at=now)
        return case

    def _count(self, member: Member, case: Case, *, now: float) -> None:
        pause_s = self._local.config.refused_retry_s
        if now < case.counted_at + pause_s:
            return
        case.counted_at = now
        case.refusals += 1
        if case.refusals < LONE_REFUSALS:
            case.retry_at = now + pause_s
        elif self._is_lone(member):
            self._judge.condemn(member, now=now)

    def _may_crash(self, member: Member) -> bool:
        """Return whether a refusal says anything: one from an earlier run may just not have started yet."""
        return member.is_living and not member.is_remembered and not member.is_refusal_void

    def _is_lone(self, accused: Member) -> bool:
        """Return whether nobody else can second this peer: all others are unmet, or refused it as well."""
        return all(
            other is accused or other.is_remembered or _refused_by(other, self._local.peer_id)
            for other in self._table.living_others()
        )


def _refused_by(member: Member, accuser: PeerId) -> bool:
    accusation = member.accusations.get(accuser)
    return accusation is not None and accusation.kind == "refused"
