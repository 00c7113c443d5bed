"""The voter: would I vote for this candidate, in this council, now?

A voter clings to a living leader (leader stickiness, Raft 2014 thesis, section 4.2.3) unless the leader itself
stands, released its lease, fell silent, or two sides of the network are to be united; the last at most once in
``change_pause_s``. "Not now" is an answer of its own: peers learn of a death some milliseconds apart, so the voter
remembers who asked too early and answers once its own view allows it.
"""

import enum
import math
from typing import TypeAlias

from protocol.effects import MachineEffect, Tell
from protocol.election.allegiance import Allegiance
from protocol.election.council import is_well_formed
from protocol.election.station import Station
from protocol.ids import PeerId
from protocol.limits import COUNCIL_SIZE_MAX
from protocol.messages import PreVoteReply, PreVoteRequest, VoteRequest
from protocol.statements import Release, council_hash

Asking: TypeAlias = PreVoteRequest | VoteRequest


class Opinion(enum.Enum):
    """What a voter thinks of a request."""

    YES = "yes"
    NOT_NOW = "not now"
    """The own view may change within milliseconds: ask again, or wait for a late answer."""

    NO = "no"


class Voter:
    """Forms opinions; the caller carries out what follows from them.

    Invariants:
        1. At most ``COUNCIL_SIZE_MAX`` early requests are remembered.
    """

    def __init__(self, station: Station, allegiance: Allegiance) -> None:
        self._station = station
        self._allegiance = allegiance
        self._early: dict[PeerId, tuple[PreVoteRequest, float]] = {}
        """Requests that came too early, with the time until which an answer may still help."""

        self._recheck_at = math.inf
        self._favourite: PeerId | None = None
        self._favours_until = -math.inf

    def opinion(self, request: Asking, *, sender: PeerId, now: float) -> Opinion:
        """Weigh a request; nothing is promised by it."""
        station, promises = self._station, self._station.promises
        ballot, council = request.ballot, request.council
        if ballot.peer_id != sender or station.me not in council or not is_well_formed(council):
            return Opinion.NO
        if promises.is_on_trust(now) or promises.is_jump(ballot):
            return Opinion.NO
        if not promises.allows_vote(ballot, council_hash(council)):
            return Opinion.NO
        if not station.rules.may_lead(sender, station.council):
            return Opinion.NO
        if not station.electorate.ready or not station.is_living(sender):
            return Opinion.NOT_NOW
        if not station.rules.agree(council, station.council):
            return Opinion.NOT_NOW
        release = request.release if isinstance(request, VoteRequest) else None
        if not station.may_grant(ballot, release=release, now=now):
            return Opinion.NOT_NOW
        return self._opinion_beside_leader(request, sender, now)

    def favour(self, candidate: PeerId, *, now: float) -> None:
        """Prefer ``candidate`` for a moment over all but lower ids, so that two candidates do not split the votes."""
        self._favourite = candidate
        self._favours_until = now + self._station.config.vote_timeout_s / 2

    def remember(self, request: PreVoteRequest, *, sender: PeerId, now: float) -> None:
        """Keep a request that came too early."""
        self._early.pop(sender, None)
        self._early[sender] = (request, now + self._station.config.vote_timeout_s)
        if len(self._early) > COUNCIL_SIZE_MAX:
            del self._early[next(iter(self._early))]
        self._plan_recheck(now)

    def reply(self, request: PreVoteRequest, *, is_granted: bool, sender: PeerId) -> MachineEffect:
        """Return the answer to a request for an opinion."""
        highest = self._station.promises.top
        return Tell(sender, PreVoteReply(ballot=request.ballot, granted=is_granted, highest=highest))

    def pleased(self, now: float) -> tuple[PeerId, PreVoteRequest] | None:
        """Take out the lowest candidate that asked too early and would now get a yes."""
        for sender, (_, expires_at) in list(self._early.items()):
            if now >= expires_at:
                del self._early[sender]
        for sender in sorted(self._early):
            request, _ = self._early[sender]
            if self.opinion(request, sender=sender, now=now) is Opinion.YES:
                del self._early[sender]
                self._plan_recheck(now)
                return sender, request
        self._plan_recheck(now)
        return None

    def is_released(self, release: Release | None, *, successor: PeerId) -> bool:
        """Return whether the followed leader signed its lead away to ``successor``."""
        certificate = self._allegiance.certificate
        return (
            release is not None
            and certificate is not None
            and release.ballot == certificate.ballot
            and release.author == certificate.ballot.peer_id
            and release.successor == successor
            and self._station.is_authentic(release)
        )

    def next_deadline(self) -> float:
        """Return when ``pleased`` may find somebody without any change of view."""
        return self._recheck_at

    def check_invariants(self) -> None:
        """Assert what the class docstring promises."""
        assert len(self._early) <= COUNCIL_SIZE_MAX

    def _opinion_beside_leader(self, request: Asking, sender: PeerId, now: float) -> Opinion:
        if self._clings_to_leader(request, sender, now):
            if not request.is_merge or not self._station.rules.unites_sides:
                return Opinion.NOT_NOW
            if not self._allegiance.may_change(now) or self._station.promises.is_out_of_reach(request.ballot):
                return Opinion.NO  # who left its leader for a term that nobody else reaches would follow nobody
        prefers_another = self._favourite is not None and self._favourite < sender and now < self._favours_until
        return Opinion.NOT_NOW if prefers_another and isinstance(request, PreVoteRequest) else Opinion.YES

    def _clings_to_leader(self, request: Asking, sender: PeerId, now: float) -> bool:
        leader = self._allegiance.leader
        if leader is None or leader == sender or not self._station.is_living(leader):
            return False
        if leader != self._station.me and self._station.in_council and self._allegiance.is_silent(now):
            return False
        return not (isinstance(request, VoteRequest) and self.is_released(request.release, successor=sender))

    def _plan_recheck(self, now: float) -> None:
        """Wake when a silence, the favourite's time or a promise is over, if anybody waits for that."""
        free_at = [self._station.rules.free_at(sender) for sender in self._early]
        times = [at for at in (self._allegiance.silent_at, self._favours_until, *free_at) if at > now]
        self._recheck_at = min(times, default=math.inf) if self._early else math.inf
