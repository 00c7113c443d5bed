"""What differs between the two declared modes of an election (DESIGN section 6, "Leader").

The machine is one; it asks these questions where the modes part. ``AvailableRules`` answers them here, ``QuorumRules``
in ``protocol.election.quorum``.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, Protocol, TypeAlias

from protocol.config import ProtocolConfig
from protocol.election.council import council_of, holds_in, share_majority
from protocol.ids import PeerId
from protocol.statements import Ballot, Certificate, Readmission, Release, VoterList

News: TypeAlias = Literal["adopted", "known", "older", "refused", "ignored"]
"""What a list of voters meant: newer and adopted, the same, older than the known one, contradicting it, no matter."""


class Rules(Protocol):
    """One mode's answers."""

    unites_sides: ClassVar[bool]
    """Whether each side of a cut may have a leader, and a merge election unites them when they meet."""

    relearns: ClassVar[bool]
    """Whether a voter that lost its promise may vote again once it learned the term from others."""

    tells_lapse: ClassVar[bool]
    """Whether a leader whose lease ended tells everybody: the membership would not make another one."""

    @property
    def lease_s(self) -> float:
        """How long a majority's acks carry a leader, in seconds of its own clock."""

    @property
    def voters(self) -> VoterList | None:
        """The fixed list, where there is one and it is known."""

    def council_of(self, living: Sequence[PeerId]) -> tuple[PeerId, ...]:
        """Return who votes, ascending; ``living`` is ascending as well."""

    def agree(self, named: tuple[bytes, ...], own: tuple[PeerId, ...]) -> bool:
        """Return whether a voter with the council ``own`` may vote in the council ``named``."""

    def holds(self, certificate: Certificate, own: tuple[PeerId, ...]) -> bool:
        """Return whether an authentic certificate makes a leader for one with the council ``own``."""

    def may_lead(self, peer_id: PeerId, own: tuple[PeerId, ...]) -> bool:
        """Return whether ``peer_id`` may be elected."""

    def may_grant(self, ballot: Ballot, *, release: Release | None, now: float) -> bool:
        """Return whether this voter's voice, a vote or an ack, is free for the candidate of ``ballot``."""

    def grant(self, ballot: Ballot, *, now: float) -> None:
        """Note that the voice was given: nobody else may have it for a while."""

    def free_at(self, candidate: PeerId) -> float:
        """Return when the voice is free for ``candidate``; minus infinity when it is."""

    def learn(self, voters: VoterList) -> News:
        """Take a list of voters that somebody sent; nothing in it is believed but what the admin signed."""

    def readmission(self, voter: PeerId, lost_in: int) -> Readmission | None:
        """Return the admin's word that ``voter``, whose promise was lost in boot ``lost_in``, may vote again."""


class AvailableRules:
    """The *available* mode: the council follows the membership; each side of a cut has a leader."""

    unites_sides: ClassVar[bool] = True
    relearns: ClassVar[bool] = True
    tells_lapse: ClassVar[bool] = False
    voters: ClassVar[None] = None

    def __init__(self, config: ProtocolConfig) -> None:
        self.lease_s = config.lease_s

    def council_of(self, living: Sequence[PeerId]) -> tuple[PeerId, ...]:
        return council_of(living)

    def agree(self, named: tuple[bytes, ...], own: tuple[PeerId, ...]) -> bool:
        return share_majority(named, own)

    def holds(self, certificate: Certificate, own: tuple[PeerId, ...]) -> bool:
        return holds_in(certificate, own)

    def may_lead(self, peer_id: PeerId, own: tuple[PeerId, ...]) -> bool:
        return True

    def may_grant(self, ballot: Ballot, *, release: Release | None, now: float) -> bool:
        return True

    def grant(self, ballot: Ballot, *, now: float) -> None:
        """Promises of this mode are votes alone."""

    def free_at(self, candidate: PeerId) -> float:
        return -math.inf

    def learn(self, voters: VoterList) -> News:
        return "ignored"

    def readmission(self, voter: PeerId, lost_in: int) -> Readmission | None:
        return None
