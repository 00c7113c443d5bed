"""Whom a peer follows, and since when it heard nothing of that leader.

Only council members receive heartbeats, so only they can tell a silent leader from a living one; all others rely
on the membership and on the certificate of the next leader.
"""

import math

from protocol.config import ProtocolConfig
from protocol.ids import PeerId
from protocol.messages import LeaderClaim
from protocol.statements import Certificate


class Allegiance:
    """The followed certificate, the own one while leading, or none.

    Invariants:
        1. ``claim`` names the followed ballot, and is the same object as long as it says the same.
    """

    def __init__(self, config: ProtocolConfig, *, now: float) -> None:
        self._config = config
        self.certificate: Certificate | None = None
        self.since = now
        """When the leader, or having none, began; a renewed certificate of the same leader changes nothing."""

        self.claim: LeaderClaim | None = None
        self._heard_at = now
        self._left_living_at = -math.inf

    @property
    def leader(self) -> PeerId | None:
        """Who is followed."""
        return self.certificate.ballot.peer_id if self.certificate else None

    @property
    def followers(self) -> int:
        """How many follow this leader, as far as this peer was told."""
        return self.claim.followers if self.claim else 0

    @property
    def silent_at(self) -> float:
        """When the leader counts as silent, should no heartbeat come until then."""
        return self._heard_at + self._config.election_timeout_s

    def follow(self, certificate: Certificate, *, followers: int, now: float) -> None:
        """Follow the leader that ``certificate`` proves."""
        if certificate.ballot.peer_id != self.leader:
            self.since = now
            if self.leader is not None and not self.is_silent(now):
                self._left_living_at = now
        self.certificate = certificate
        self.claim = LeaderClaim(certificate.ballot, followers)
        self._heard_at = now

    def drop(self, *, now: float, for_another: bool = False) -> None:
        """Follow nobody; ``for_another`` when a living leader is left to unite two sides."""
        if self.certificate is None:
            return
        if for_another and not self.is_silent(now):
            self._left_living_at = now
        self.certificate = None
        self.claim = None
        self.since = now

    def count(self, followers: int) -> None:
        """Take the leader's own word on how many follow it."""
        if self.claim is not None and self.claim.followers != followers:
            self.claim = LeaderClaim(self.claim.ballot, followers)

    def heard(self, now: float) -> None:
        """Note a heartbeat, or the moment from which heartbeats are expected."""
        self._heard_at = now

    def excuse(self, late_by: float) -> None:
        """Do not count time in which this process did not run as silence of the leader."""
        self._heard_at += late_by

    def is_silent(self, now: float) -> bool:
        """Return whether heartbeats stopped; meaningless for peers that receive none."""
        return now >= self.silent_at

    def may_change(self, now: float) -> bool:
        """Return whether this peer may leave a living leader again: once per pause, whatever cuts do."""
        return now >= self._left_living_at + self._config.change_pause_s

    def check_invariants(self) -> None:
        """Assert what the class docstring promises."""
        assert (self.certificate is None) == (self.claim is None)
        if self.certificate is not None and self.claim is not None:
            assert self.claim.ballot == self.certificate.ballot
