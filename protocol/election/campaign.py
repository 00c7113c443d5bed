"""One attempt to lead: whom to ask, who answered, and how it stands.

Two stages: asking ("would you vote for me?", Raft 2014 thesis, section 9.6: it changes nothing and so disturbs
nobody) and voting. The tally is pending, won or lost, never a bool (etcd raft, ``quorum``).
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from protocol.ids import PeerId
from protocol.statements import Ballot, Certificate, Release, Vote, council_hash, majority_of

Tally: TypeAlias = Literal["pending", "won", "lost"]


@dataclass(slots=True, kw_only=True)
class Campaign:
    """State of an attempt. Only members of ``council`` are ever counted."""

    ballot: Ballot
    council: tuple[PeerId, ...]
    is_merge: bool
    """The candidate leads already: it renews its certificate or unites two sides."""

    release: Release | None
    ends_at: float
    resend_at: float
    asked_votes_at: float | None = None
    """When the votes were first asked for; None while only asking."""

    would_vote: dict[PeerId, None] = field(default_factory=dict)
    votes: dict[PeerId, Vote] = field(default_factory=dict)
    refused: dict[PeerId, None] = field(default_factory=dict)

    @property
    def is_voting(self) -> bool:
        """Whether votes are asked for; before, only opinions."""
        return self.asked_votes_at is not None

    @property
    def council_hash(self) -> bytes:
        """What names the council in a vote."""
        return council_hash(self.council)

    def tally(self) -> Tally:
        """Return how the present stage stands.

        Opinions are never lost before their time: a voter whose leader just died changes its mind in milliseconds.
        """
        needed = majority_of(len(self.council))
        if len(self.votes if self.is_voting else self.would_vote) >= needed:
            return "won"
        return "lost" if len(self.council) - len(self.refused) < needed else "pending"

    def can_win_with(self, living: tuple[PeerId, ...]) -> bool:
        """Return whether the living members of the council are still a majority of it."""
        return sum(member in living for member in self.council) >= majority_of(len(self.council))

    def missing(self, me: PeerId) -> tuple[PeerId, ...]:
        """Return the members whose consent is missing in this stage, ascending."""
        consents = self.votes if self.is_voting else self.would_vote
        return tuple(member for member in self.council if member != me and member not in consents)

    def certificate(self) -> Certificate:
        """Return the proof of a won vote: a bare majority of votes, ascending by voter."""
        voters = sorted(self.votes)[: majority_of(len(self.council))]
        return Certificate(
            ballot=self.ballot, council=tuple(self.council), votes=tuple(self.votes[voter] for voter in voters)
        )
