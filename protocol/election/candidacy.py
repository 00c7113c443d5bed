"""The candidate: asks for opinions, then for votes, and counts them.

Requests are sent again after a moment, ever less often and until the campaign ends: datagrams get lost, and a voter
that has not yet heard what the candidate knows changes its mind within milliseconds. Suspects, which rarely answer at
all, are asked once in each campaign: a side without a majority campaigns for as long as it is cut off.
"""

import math
from collections.abc import Sequence
from typing import Final

from protocol.effects import MachineEffect, Persist, Tell
from protocol.election.campaign import Campaign
from protocol.election.promises import NO_BALLOT
from protocol.election.station import Station
from protocol.ids import PeerId
from protocol.messages import Message, PreVoteReply, PreVoteRequest, VoteReply, VoteRequest
from protocol.statements import Ballot, Release, Vote, majority_of

_RESENDS_PER_TIMEOUT: Final = 15
"""The first repetition comes after this part of ``vote_timeout_s``; the pause doubles with each."""

_TERM_RAISES_MAX: Final = 3
"""How often one campaign moves to a higher term on the word of a voter; a lying one could go on for long."""


class Candidacy:
    """The own attempts to lead, one at a time.

    Invariants:
        1. The own vote in a campaign is the one that was promised.
    """

    def __init__(self, station: Station) -> None:
        self._station = station
        self.campaign: Campaign | None = None
        self._resend_pause_s = 0.0
        self._raises_left = 0

    @property
    def is_voting(self) -> bool:
        """Whether a term was spent and votes are asked for."""
        return self.campaign is not None and self.campaign.is_voting

    @property
    def is_won(self) -> bool:
        """Whether a majority of the council signed."""
        return self.campaign is not None and self.campaign.is_voting and self.campaign.tally() == "won"

    def stand(self, now: float, *, is_merge: bool = False, release: Release | None = None) -> list[MachineEffect]:
        """Begin an attempt in the council of the present view; with a release votes are asked for at once.

        Args:
            is_merge: This peer leads, and renews its certificate or unites two sides.
            release: The old leader's, which names this peer as successor.
        """
        station = self._station
        effects: list[MachineEffect] = []
        if station.council == (station.me,) and not station.promises.may_vote:
            self._learn_term(station.me, NO_BALLOT, effects)
        self._raises_left = _TERM_RAISES_MAX
        self._open(now, is_merge=is_merge, release=release, ends_at=now + station.config.vote_timeout_s)
        if release is not None:
            self._ask_votes(now, effects)
        else:
            self._advance(now, effects)
            if not self.is_voting:
                self._ask(effects)
        return effects

    def view_changed(self, now: float) -> list[MachineEffect]:
        """Ask again in the council of the new view; votes already asked for stay, while they can suffice."""
        campaign = self.campaign
        if campaign is None or campaign.council == self._station.council:
            return []
        if campaign.is_voting:
            if not campaign.can_win_with(self._station.electorate.living):
                self.campaign = None
            return []
        return self.stand(now, is_merge=campaign.is_merge)

    def pre_vote_replied(self, reply: PreVoteReply, *, sender: PeerId, now: float) -> list[MachineEffect]:
        """Count an opinion, or learn that a voter is further."""
        effects: list[MachineEffect] = []
        self._learn_term(sender, reply.highest, effects)
        campaign = self.campaign
        if campaign is None or campaign.is_voting or reply.ballot != campaign.ballot or sender not in campaign.council:
            return effects
        if reply.granted:
            campaign.would_vote[sender] = None
            self._advance(now, effects)
            return effects
        self._station.promises.hear(reply.highest)
        if self._station.promises.known_term >= campaign.ballot.term and self._raises_left > 0:
            self._raises_left -= 1
            self._open(now, is_merge=campaign.is_merge, release=None, ends_at=campaign.ends_at)
            self._ask(effects)
        return effects

    def vote_replied(self, reply: VoteReply, *, sender: PeerId, now: float) -> list[MachineEffect]:
        """Count a vote once its signature holds; a lost campaign ends."""
        effects: list[MachineEffect] = []
        self._learn_term(sender, reply.highest, effects)
        campaign = self.campaign
        if campaign is None or not campaign.is_voting or reply.ballot != campaign.ballot:
            return effects
        if sender not in campaign.council or sender in campaign.votes:
            return effects
        if reply.vote is None:
            self._station.promises.hear(reply.highest)
            campaign.refused[sender] = None
        elif self._is_for(campaign, reply.vote, sender):
            campaign.refused.pop(sender, None)
            campaign.votes[sender] = reply.vote
        if campaign.tally() == "lost":
            self.campaign = None
        return effects

    def abandon(self) -> None:
        """End the attempt; promised votes stay promised."""
        self.campaign = None

    def wake(self, now: float) -> list[MachineEffect]:
        """Repeat unanswered requests, or give up."""
        campaign = self.campaign
        effects: list[MachineEffect] = []
        if campaign is None:
            return effects
        if now >= campaign.ends_at:
            self.campaign = None
        elif now >= campaign.resend_at:
            self._resend_pause_s *= 2
            campaign.resend_at = now + self._resend_pause_s
            suspects = self._station.electorate.suspects
            self._ask(effects, [member for member in campaign.missing(self._station.me) if member not in suspects])
        return effects

    def next_deadline(self) -> float:
        """Return when ``wake`` wants to be called; infinity without a campaign."""
        return min(self.campaign.ends_at, self.campaign.resend_at) if self.campaign else math.inf

    def check_invariants(self) -> None:
        """Assert what the class docstring promises."""
        if self.campaign is not None and self._station.me in self.campaign.votes:
            own = self.campaign.votes[self._station.me]
            assert own.ballot == self.campaign.ballot <= self._station.promises.voted

    def _open(self, now: float, *, is_merge: bool, release: Release | None, ends_at: float) -> None:
        station = self._station
        self._resend_pause_s = station.config.vote_timeout_s / _RESENDS_PER_TIMEOUT
        campaign = self.campaign = Campaign(
            ballot=Ballot(station.promises.known_term + 1, station.me),
            council=station.council,
            is_merge=is_merge,
            release=release,
            ends_at=ends_at,
            resend_at=now + self._resend_pause_s,
        )
        if self._has_own_vote(campaign, now):
            campaign.would_vote[station.me] = None

    def _advance(self, now: float, effects: list[MachineEffect]) -> None:
        """Ask for votes once enough would give theirs."""
        if self.campaign is not None and self.campaign.tally() == "won":
            self._ask_votes(now, effects)

    def _ask_votes(self, now: float, effects: list[MachineEffect]) -> None:
        """Spend the term. The requests leave first, so that all voters sync at the same time as this peer."""
        campaign, station = self.campaign, self._station
        assert campaign is not None and not campaign.is_voting, "a campaign asks for votes once"
        campaign.asked_votes_at = now
        campaign.ends_at = now + station.config.vote_timeout_s
        self._resend_pause_s = station.config.vote_timeout_s / _RESENDS_PER_TIMEOUT
        campaign.resend_at = now + self._resend_pause_s
        station.promises.spend(campaign.ballot.term)
        self._ask(effects)
        if self._has_own_vote(campaign, now):
            effects.extend(station.promise_vote(campaign.ballot, campaign.council_hash, now=now))
            campaign.votes[station.me] = station.sign_vote(campaign.ballot, campaign.council_hash)

    def _has_own_vote(self, campaign: Campaign, now: float) -> bool:
        station = self._station
        return station.in_council and station.may_vote(
            campaign.ballot, campaign.council_hash, release=campaign.release, now=now
        )

    def _ask(self, effects: list[MachineEffect], asked: Sequence[PeerId] | None = None) -> None:
        """Send the request of the present stage to ``asked``, or to all whose consent is missing."""
        campaign = self.campaign
        assert campaign is not None
        request: Message
        if campaign.is_voting:
            request = VoteRequest(
                ballot=campaign.ballot, council=campaign.council, is_merge=campaign.is_merge, release=campaign.release
            )
        else:
            request = PreVoteRequest(ballot=campaign.ballot, council=campaign.council, is_merge=campaign.is_merge)
        asked = campaign.missing(self._station.me) if asked is None else asked
        effects.extend(Tell(member, request) for member in asked)

    def _is_for(self, campaign: Campaign, vote: Vote, sender: PeerId) -> bool:
        return (
            vote.author == sender
            and vote.ballot == campaign.ballot
            and vote.council_hash == campaign.council_hash
            and self._station.is_authentic(vote)
        )

    def _learn_term(self, sender: PeerId, highest: Ballot, effects: list[MachineEffect]) -> None:
        """Take a term towards voting again, after the own promise was lost (``Promises.learn_from``)."""
        station = self._station
        if station.promises.may_vote:
            return
        others = station.other_councillors
        needed = majority_of(len(others)) if others else 0
        if station.promises.learn_from(sender, highest, others=others, needed=needed):
            effects.append(Persist(station.promises.promise))
