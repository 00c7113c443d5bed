"""How word gets around: rounds of gossip, introductions of newcomers, and what must be told at once."""

import math

from protocol import limits
from protocol.effects import MachineEffect, Tell
from protocol.ids import PeerId
from protocol.members.anti_entropy import FIRST_PAUSE_S
from protocol.members.local import LocalPeer
from protocol.members.news import News
from protocol.members.pings import Pings, pages_of
from protocol.members.table import Member, MemberTable
from protocol.messages import Gossip
from protocol.statements import Accusation, Evidence, Leave

SOON_S = 0.01
"""Word waits so long for company before the first message: peers that join or die together share datagrams."""

COMPANY_SHARE = 0.25
"""Word of silence, and of its refutation, waits at each peer for so much of the shortest suspicion: it weighs nothing
yet, and where links are bad there is always more of it. All hear of it well within the time to refute."""

TOLD_MAX = 256
"""Members that one peer tells of newcomers or of its own goodbye itself; the others hear it from these."""

_DRAWS_PER_PARTNER = 4
"""Members drawn for each that a round of gossip needs: some may not be worth a message."""

TOLD_NEIGHBOURS = 3
"""Members told at once of a refusal, because they follow in the ring: as many as may be slow without harm."""

TOLD_PREDECESSORS = 4
"""Members told at once of a refusal because the accused follows them in the ring: two hold a link to it (DESIGN section
6), and when they died as well the next ones are the first to second the observer."""


class Spreading:
    """When to tell whom. What is told comes from the news and from the table."""

    def __init__(self, *, local: LocalPeer, table: MemberTable, news: News, pings: Pings) -> None:
        self._local = local
        self._table = table
        self._news = news
        self._pings = pings
        self._round_due = math.inf
        self._rounds_from = -math.inf
        self._newcomers: dict[PeerId, None] = {}
        self._introduction_due = math.inf
        self._introductions_from = -math.inf

    @property
    def deadline(self) -> float:
        """When the next message is due."""
        return min(self._round_due, self._introduction_due)

    def schedule(self, *, now: float, pause_s: float = SOON_S) -> None:
        """Plan a round of gossip when there is urgent news: after a pause, and never two within one interval."""
        if self._news.is_urgent:
            self._round_due = min(self._round_due, max(now + pause_s, self._rounds_from))

    def pass_on(self, evidence: Evidence, about: Member, *, is_change: bool, now: float) -> None:
        """Plan a round for what somebody told; ``is_change`` when a member fell or rose by it."""
        config = self._local.config
        if not is_change and not (isinstance(evidence, Accusation) and evidence.kind == "refused"):
            self.schedule(now=now, pause_s=config.suspicion_min_s * COMPANY_SHARE)
        elif self._local.peer_id in about.accusations:  # it saw the crash itself: so did others that held a link
            self.schedule(now=now, pause_s=config.gossip_interval_s)
        else:
            self.schedule(now=now)

    def introduce(self, newcomer: Member, *, now: float) -> None:
        """Tell everybody of a peer that nobody else introduces; each boot once."""
        if not newcomer.is_introduced:
            newcomer.is_introduced = True
            self._newcomers[newcomer.peer_id] = None
            self._introduction_due = min(
                self._introduction_due, max(now + SOON_S, self._introductions_from)
            )

    def wake(self, *, now: float) -> list[MachineEffect]:
        """Send what is due."""
        effects: list[MachineEffect] = []
        interval_s = self._local.config.gossip_interval_s
        if self._introduction_due <= now:
            self._introduction_due = math.inf
            self._introductions_from = now + interval_s
            effects += self._introductions(now)
        if self._round_due <= now and not self._news.is_urgent:
            self._round_due = math.inf  # others told it around meanwhile
        elif self._round_due <= now:
            for member in self._few_partners(self._local.config.gossip_fanout):
                effects += self._pings.gossip(member)
            self._rounds_from = now + interval_s
            self._round_due = self._rounds_from if self._news.is_urgent else math.inf
        return effects

    def tell_refusal(self, accused: Member) -> list[MachineEffect]:
        """Tell those who matter, at once, that this peer was refused: each needs the word of a second observer.

        All hold a link to the leader, so when it dies each tells its next neighbours in the ring, and everybody hears
        of as many. Else the first observer tells the council, those before the accused in the ring, and some
        neighbours; whoever completes the verdict answers the earlier observers.
        """
        local_id, claim = self._local.peer_id, self._pings.claim
        chosen = dict.fromkeys(self._table.successors_of(local_id, TOLD_NEIGHBOURS + 1))
        if claim is None or claim.ballot.peer_id != accused.peer_id:
            if accused.is_living:
                chosen.update(dict.fromkeys(self._table.council))
                chosen.update(dict.fromkeys(self._table.predecessors_of(accused.peer_id, TOLD_PREDECESSORS)))
            else:
                chosen = dict.fromkeys(accused.accusations)
        message = Gossip(updates=tuple(accused.encoded_accusations))
        return [Tell(peer_id, message) for peer_id in chosen if peer_id not in (local_id, accused.peer_id)]

    def farewell(self, leave: Leave) -> list[MachineEffect]:
        """Say goodbye to everybody, for this peer will not gossip any more."""
        message = Gossip(updates=(leave.encoded,))
        return [Tell(member.peer_id, message) for member in self._some(self._partners(), TOLD_MAX)]

    def _introductions(self, now: float) -> list[MachineEffect]:
        newcomers = [member for member in map(self._table.find, self._newcomers) if member is not None]
        self._newcomers.clear()
        pages = pages_of(member.descriptor.encoded for member in newcomers if member.is_living)
        told = [member for member in self._partners() if not _is_about_to_ask(member, now)]
        return [Tell(member.peer_id, page) for member in self._some(told, TOLD_MAX) for page in pages]

    def _partners(self) -> list[Member]:
        """Return the members that are worth a message: those of an earlier run may be long gone."""
        return [member for member in self._table.living_others() if not member.is_remembered]

    def _few_partners(self, count: int) -> list[Member]:
        """Return ``count`` partners at random, if there are so many; does not look at a large table for them."""
        living, chosen = self._table.living, []
        if len(living) <= _DRAWS_PER_PARTNER * count:
            return self._some(self._partners(), count)
        for peer_id in self._local.random.sample(living, _DRAWS_PER_PARTNER * count):
            member = self._table.find(peer_id)
            if member is not None and member is not self._table.local and not member.is_remembered:
                chosen.append(member)
                if len(chosen) == count:
                    break
        return chosen

    def _some(self, members: list[Member], count: int) -> list[Member]:
        return members if len(members) <= count else self._local.random.sample(members, count)

    def check_invariants(self) -> None:
        """Assert that those to be introduced are bounded and have a time."""
        assert len(self._newcomers) <= limits.MEMBERS_MAX + limits.REMEMBERED_DEAD_MAX
        assert not self._newcomers or self._introduction_due < math.inf


def _is_about_to_ask(member: Member, now: float) -> bool:
    """Return whether a newcomer has yet to ask for the whole table: whoever is told around now is in it by then."""
    return member.is_introduced and now < member.learned_at + FIRST_PAUSE_S
