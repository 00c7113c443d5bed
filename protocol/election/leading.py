"""The leader: heartbeats to the council, the lease that their acks carry, and reasons to be elected again.

A leader whose lease ended has *lapsed*: it acts no more and follows nobody, but goes on sending heartbeats until
somebody else is elected or its patience ends; should a majority accept it before, it leads on in the same term.
"""

import math
from typing import Final

from protocol.effects import MachineEffect, Tell
from protocol.election.lease import Lease
from protocol.election.rivals import Rivals, SideKey
from protocol.election.station import Station, ViewChange
from protocol.ids import PeerId
from protocol.messages import Announce, Heartbeat, HeartbeatAck, LeaseEnded
from protocol.statements import Certificate

_SETTLING_MAX_S: Final = 1.0
"""A view that never gets quiet delays the renewal of a certificate at most so long."""

_PROTEST_PAUSE_S: Final = 1.0
"""Peers that cannot follow this leader, because they promised more, make it renew at most so often."""


class Leadership:
    """One lead under one certificate.

    Invariants:
        1. ``lease_until`` never falls but when a council of one grows.
        2. Only living members count as followers.
    """

    def __init__(self, station: Station, certificate: Certificate, *, asked_votes_at: float, now: float) -> None:
        self.certificate: Final = certificate
        self.is_lapsed = False
        self.falls_silent_at = math.inf
        """When a lapsed lead ends: as long as its heartbeats came, its followers would cling to it."""

        self.rivals: Final = Rivals(station.config)
        self._station = station
        self._lease = Lease(holder=station.me, started_at=asked_votes_at, duration_s=station.rules.lease_s)
        self.lease_until = self._lease.until(station.council)
        self._sequence = 0
        self._heartbeat_at = now + station.config.heartbeat_interval_s
        self._followers = dict.fromkeys(station.electorate.living)
        self._doubted_at = math.inf
        self._renew_at = math.inf
        self._is_protested = False
        self._protest_allowed_at = now + _PROTEST_PAUSE_S
        self._judge_certificate(now)

    @property
    def followers(self) -> int:
        """How many living members follow, as far as this leader knows; itself included."""
        return len(self._followers)

    @property
    def side(self) -> SideKey:
        """What decides which of two sides unites them."""
        return (-self.followers, self._station.me)

    def announcement(self) -> Announce:
        """Return the proof of this lead."""
        return Announce(certificate=self.certificate, followers=self.followers)

    def announce_to(self, members: tuple[PeerId, ...]) -> list[MachineEffect]:
        """Show the certificate to ``members``."""
        announcement = self.announcement()
        return [Tell(member, announcement) for member in members if member != self._station.me]

    def end_openly(self) -> list[MachineEffect]:
        """Tell everybody that this leader leads no more."""
        ended = LeaseEnded(ballot=self.certificate.ballot)
        return [Tell(member, ended) for member in self._station.electorate.living if member != self._station.me]

    def heartbeat(self, now: float) -> list[MachineEffect]:
        """Send a round of heartbeats to the others in the council."""
        others = self._station.other_councillors
        self._sequence += 1
        self._lease.sent(self._sequence, members=others, now=now)
        self._heartbeat_at = now + self._station.config.heartbeat_interval_s
        message = Heartbeat(ballot=self.certificate.ballot, sequence=self._sequence, followers=self.followers)
        return [Tell(member, message) for member in others]

    def acknowledged(self, ack: HeartbeatAck, *, sender: PeerId) -> None:
        """Count an ack."""
        self._lease.acknowledged(sender, ack.sequence)
        self.followed_by(sender)
        self.lease_until = max(self.lease_until, self._lease.until(self._station.council))

    def followed_by(self, peer_id: PeerId) -> None:
        """Note that a living member follows this leader."""
        if self._station.is_living(peer_id):
            self._followers[peer_id] = None
            self.rivals.resolved(peer_id)

    def view_changed(self, change: ViewChange, now: float) -> list[MachineEffect]:
        """Announce this lead to newcomers, and judge lease and certificate by the new council."""
        station = self._station
        self._followers = {peer: None for peer in self._followers if station.is_living(peer)}
        if self.rivals.rival is not None and not station.is_living(self.rivals.rival.ballot.peer_id):
            self.rivals.resolved(self.rivals.rival.ballot.peer_id)
        effects = [] if self.is_lapsed else self.announce_to(change.newcomers)
        if change.is_new_council:
            until = self._lease.until(station.council)
            was_alone = self.lease_until == math.inf
            self.lease_until = max(now + station.rules.lease_s if was_alone else self.lease_until, until)
            self._judge_certificate(now)
            effects.extend(self.heartbeat(now))
        return effects

    def protested(self, now: float) -> None:
        """A peer that promised more than this ballot cannot follow it: be elected again, above."""
        if not self._is_protested:
            self._is_protested = True
            renew_at = max(now + self._station.config.view_settle_s, self._protest_allowed_at)
            self._renew_at = min(self._renew_at, renew_at)

    def must_renew(self, now: float) -> bool:
        """Return whether a merge election is due, to renew the certificate or to unite two sides."""
        if self.is_lapsed:
            return False
        return now >= self._renew_at or self.rivals.must_unite(self.side, now=now)

    def renewal_tried(self, now: float) -> None:
        """Try again after a moment, unless the election that begins now succeeds."""
        if self._renew_at <= now:
            self._renew_at = now + self._station.config.vote_timeout_s * (2 + self._station.random.random())

    def is_heartbeat_due(self, now: float) -> bool:
        """Return whether the council waits for a round."""
        return now >= self._heartbeat_at and len(self._station.other_councillors) > 0

    def next_deadline(self) -> float:
        """Return when this leader has something to do."""
        heartbeat_at = self._heartbeat_at if self._station.other_councillors else math.inf
        if self.is_lapsed:
            return min(heartbeat_at, self.falls_silent_at)
        return min(heartbeat_at, self.lease_until, self._renew_at, self.rivals.next_deadline(self.side))

    def check_invariants(self) -> None:
        """Assert what the class docstring promises."""
        assert all(self._station.is_living(peer) for peer in self._followers)
        assert self.certificate.ballot.peer_id == self._station.me

    def _judge_certificate(self, now: float) -> None:
        """Plan a renewal when the certificate holds no more; a view that still changes delays it a little."""
        if self._station.rules.holds(self.certificate, self._station.council):
            self._doubted_at = math.inf
            if not self._is_protested:
                self._renew_at = math.inf
            return
        self._doubted_at = min(self._doubted_at, now)
        settled_at = min(now + self._station.config.view_settle_s, self._doubted_at + _SETTLING_MAX_S)
        self._renew_at = settled_at if not self._is_protested else min(self._renew_at, settled_at)
