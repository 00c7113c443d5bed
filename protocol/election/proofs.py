"""What a certificate is worth to this peer, and how often it asks for one or shows its own.

A certificate is followed only if it is authentic, at or above the stored floor, names a living leader, and its
signers are a majority of the council as this peer sees it (DESIGN section 6). One that fails only by the own view
is kept for a moment: tables change within milliseconds of each other.
"""

import enum
from typing import Final

from protocol.election.allegiance import Allegiance
from protocol.election.station import Station
from protocol.ids import PeerId
from protocol.messages import Announce
from protocol.statements import Certificate
from protocol.throttle import Throttle

_PENDING_MAX: Final = 4
"""Certificates kept for a view that they may soon hold in; an insider could mint any number."""

_PENDING_S: Final = 2.0
"""A kept certificate older than this may prove a leader that leads no more."""

_CHECKS_PER_S: Final = 100
"""Certificates checked per second; a check costs up to four signatures, some 0.4 ms."""

_ASKED_PER_S: Final = 20
_SHOWN_PER_S: Final = 50
"""Certificates asked for and shown per second, beside the leader's own announcements."""


class Worth(enum.Enum):
    """What a certificate means here and now."""

    FOLLOW = "follow"
    OTHER_SIDE = "other side"
    """It proves a living leader, but not one to follow: it does not hold in this view, or is below the floor."""

    JUMP = "jump"
    NOTHING = "nothing"
    """Known, forged, about a peer that does not live here, or one check too many."""


class Proofs:
    """Weighs certificates.

    Invariants:
        1. At most ``_PENDING_MAX`` certificates are kept, all of them authentic.
    """

    def __init__(self, station: Station, allegiance: Allegiance) -> None:
        self._station = station
        self._allegiance = allegiance
        self._pending: dict[PeerId, tuple[Announce, float]] = {}
        self._checks = Throttle(_CHECKS_PER_S)
        self._asked = Throttle(_ASKED_PER_S)
        self._shown = Throttle(_SHOWN_PER_S)

    def weigh(self, announce: Announce, *, now: float) -> Worth:
        """Return what an announced certificate is worth; keep it if only the own view speaks against it."""
        certificate, station = announce.certificate, self._station
        ballot = certificate.ballot
        followed = self._allegiance.certificate
        if ballot.peer_id == station.me or (followed is not None and followed.ballot == ballot):
            return Worth.NOTHING
        if station.promises.is_jump_of_proof(ballot):
            return Worth.JUMP
        if not self._checks.allows(now) or not station.is_authentic(certificate):
            return Worth.NOTHING
        if not self._is_below(certificate):
            if self._holds(certificate):
                return Worth.FOLLOW
            self._keep(announce, now)
        return Worth.OTHER_SIDE if station.is_living(ballot.peer_id) else Worth.NOTHING

    def take_held(self, now: float) -> Announce | None:
        """Return the highest kept certificate that holds in the present view."""
        for leader, (announce, kept_at) in list(self._pending.items()):
            if now - kept_at > _PENDING_S or self._is_below(announce.certificate):
                del self._pending[leader]
        held = [announce for announce, _ in self._pending.values() if self._holds(announce.certificate)]
        return max(held, key=lambda announce: announce.certificate.ballot, default=None)

    def may_ask(self, now: float) -> bool:
        """Count a request for a certificate; return whether it is within the bound."""
        return self._asked.allows(now)

    def may_show(self, now: float) -> bool:
        """Count an answer with the own certificate; return whether it is within the bound."""
        return self._shown.allows(now)

    def check_invariants(self) -> None:
        """Assert what the class docstring promises."""
        assert len(self._pending) <= _PENDING_MAX

    def _is_below(self, certificate: Certificate) -> bool:
        followed = self._allegiance.certificate
        if followed is not None and certificate.ballot <= followed.ballot:
            return True
        return certificate.ballot < self._station.promises.floor

    def _holds(self, certificate: Certificate) -> bool:
        station = self._station
        return station.is_living(certificate.ballot.peer_id) and station.rules.holds(certificate, station.council)

    def _keep(self, announce: Announce, now: float) -> None:
        leader = announce.certificate.ballot.peer_id
        self._pending.pop(leader, None)
        self._pending[leader] = (announce, now)
        if len(self._pending) > _PENDING_MAX:
            del self._pending[next(iter(self._pending))]
