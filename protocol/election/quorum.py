"""The *quorum* mode: a fixed list of voters, signed by the admin; no majority of it, no leader.

Two leases never overlap in true time (Gray and Cheriton 1989, "Leases"; Lampson 1996, section 8). Each voice that
carries a lease, a vote or an ack, is a promise: for ``promise_s`` of the voter's clock nobody else gets it. A leader
counts its lease from the *sending* of what was answered, so the promise began later, and it is longer by as much as
two clocks may part: with rates between 0.95 and 1.05 of true time,

    lease_s / 0.95 <= promise_s / 1.05.

Promises are not on disk: after each start a voter gives its voice to nobody for one whole promise, whatever it was
before. What is on disk fences ballots, as in the other mode (``protocol.election.promises``). Only a release that the
holder signed ends a promise early.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Final

from protocol.config import ProtocolConfig
from protocol.election.rules import AvailableRules, News, Rules
from protocol.identity import Verifier
from protocol.ids import NetworkId, PeerId
from protocol.network import NetworkIdentity
from protocol.statements import Ballot, Certificate, Readmission, Release, VoterList

CLOCK_RATE_MIN: Final = 0.95
CLOCK_RATE_MAX: Final = 1.05
"""Slowest and fastest steady clock for which leases never overlap, in seconds per true second."""

_ROUNDING_S: Final = 0.001
"""Added to each promise, so that no rounding of a float can shorten it."""


def promise_s(lease_s: float) -> float:
    """Return how long a voter promises its voice, in seconds of its own clock."""
    return lease_s * CLOCK_RATE_MAX / CLOCK_RATE_MIN + _ROUNDING_S


def rules_of(
    network: NetworkIdentity,
    *,
    config: ProtocolConfig,
    verifier: Verifier,
    voters: Sequence[VoterList],
    now: float,
) -> Rules:
    """Return the rules of the network's mode."""
    if network.mode == "available":
        return AvailableRules(config)
    return QuorumRules(
        network_id=network.network_id,
        admin_key=network.admin_public_key,
        config=config,
        verifier=verifier,
        voters=voters,
        now=now,
    )


class QuorumRules:
    """One peer's knowledge of the voters, and whom its own voice belongs to.

    Invariants:
        1. The version of the known list never falls; all that was adopted is signed by the admin.
        2. The voice changes hands only at the end of a promise, or by a release of its holder.
    """

    unites_sides: ClassVar[bool] = False
    relearns: ClassVar[bool] = False
    tells_lapse: ClassVar[bool] = True

    def __init__(
        self,
        *,
        network_id: NetworkId,
        admin_key: bytes,
        config: ProtocolConfig,
        verifier: Verifier,
        voters: Sequence[VoterList],
        now: float,
    ) -> None:
        """Begin with the highest valid of the lists that were kept; the voice is nobody's for one promise."""
        self.voters: VoterList | None = None
        self._network_id = network_id
        self._admin_key = admin_key
        self._config = config
        self._verifier = verifier
        self._granted: Ballot | None = None
        self._granted_at = now
        for kept in sorted(voters, key=lambda each: each.version):
            self.learn(kept)

    @property
    def lease_s(self) -> float:
        """How long a majority's acks carry a leader: never longer than all voters promise."""
        return min(self._config.lease_s, self._longest_lease_s)

    def council_of(self, living: Sequence[PeerId]) -> tuple[PeerId, ...]:
        """Return the voters, whoever is alive; nobody while the list is not known."""
        return tuple(PeerId(voter) for voter in self.voters.voters) if self.voters is not None else ()

    def agree(self, named: tuple[bytes, ...], own: tuple[PeerId, ...]) -> bool:
        return named == own

    def holds(self, certificate: Certificate, own: tuple[PeerId, ...]) -> bool:
        return certificate.council == own and self.may_lead(certificate.ballot.peer_id, own)

    def may_lead(self, peer_id: PeerId, own: tuple[PeerId, ...]) -> bool:
        return peer_id in own

    def may_grant(self, ballot: Ballot, *, release: Release | None, now: float) -> bool:
        if now >= self.free_at(ballot.peer_id):
            return True
        return release is not None and self._is_released(release, successor=ballot.peer_id)

    def grant(self, ballot: Ballot, *, now: float) -> None:
        is_same = self._granted is not None and self._granted.candidate == ballot.candidate
        # An ack of an older ballot must not make an older release count.
        self._granted = max(self._granted, ballot) if is_same and self._granted is not None else ballot
        self._granted_at = now

    def free_at(self, candidate: PeerId) -> float:
        if self._granted is not None and self._granted.candidate == candidate:
            return -math.inf
        return self._granted_at + promise_s(self._longest_lease_s)

    def learn(self, voters: VoterList) -> News:
        known = self.voters
        if known is not None and voters.version < known.version:
            return "older"
        if voters == known:
            return "known"
        if not voters.is_valid(self._verifier, self._network_id, admin_key=self._admin_key):
            return "ignored"
        if known is not None and (voters.version == known.version or not voters.may_succeed(known)):
            return "refused"
        self.voters = voters
        return "adopted"

    def readmission(self, voter: PeerId, lost_in: int) -> Readmission | None:
        readmitted = self.voters.readmitted if self.voters is not None else ()
        return next((word for word in readmitted if (word.voter, word.lost_in) == (voter, lost_in)), None)

    @property
    def _longest_lease_s(self) -> float:
        return self.voters.lease_ms / 1000 if self.voters is not None else self._config.lease_s

    def _is_released(self, release: Release, *, successor: PeerId) -> bool:
        """Return whether the holder of the voice gave it away, under the ballot it has it for or a later one."""
        return (
            self._granted is not None
            and release.author == self._granted.peer_id
            and release.ballot.candidate == self._granted.candidate
            and release.ballot >= self._granted
            and release.successor == successor
            and release.is_authentic(self._verifier, self._network_id)
        )
