"""Whom others follow: their claims and certificates, and what this peer shows or asks of them.

Claims are words; only a certificate makes a peer follow. Where two leaders meet, this brings them together
(``protocol.election.rivals`` decides who unites the sides).
"""

from typing import Final

from protocol.effects import MachineEffect, Tell
from protocol.election.alarms import Alarms
from protocol.election.allegiance import Allegiance
from protocol.election.proofs import Proofs, Worth
from protocol.election.roles import Roles
from protocol.election.station import Station
from protocol.ids import PeerId
from protocol.messages import Announce, CertificateRequest, HeartbeatAck, LeaderClaim, LeaseEnded
from protocol.statements import Ballot

PROTEST_SEQUENCE: Final = 0
"""A heartbeat ack with this number answers no heartbeat: its sender only says that it promised more."""


class Sides:
    """Takes the words of others on who leads."""

    def __init__(self, station: Station, allegiance: Allegiance, proofs: Proofs, roles: Roles, alarms: Alarms) -> None:
        self._station = station
        self._promises = station.promises
        self._allegiance = allegiance
        self._proofs = proofs
        self._roles = roles
        self._alarms = alarms

    def claimed(self, claim: LeaderClaim, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        """Take a word on who leads; ask for the proof of a higher leader, show that of ours."""
        followed, ballot = self._allegiance.certificate, claim.ballot
        if followed is not None and ballot == followed.ballot:
            self._count_follower(claim, sender)
        elif ballot.peer_id == self._station.me or not self._station.is_living(ballot.peer_id):
            pass  # a late word: this peer leads no more, or that leader is gone
        elif self._promises.is_jump_of_proof(ballot):
            self._alarms.jump(ballot, sender, now, effects)
        elif followed is not None and ballot < followed.ballot:
            self.show_certificate(sender, now, effects)
        elif ballot >= self._promises.floor:
            self.ask_certificate(ballot, sender, now, effects)
        else:
            self._protest(ballot, now, effects)

    def claim_missed(self, now: float) -> None:
        """The followed leader itself does not say that it leads: where it would have told, its word was lost."""
        hears_heartbeats = self._station.in_council and not self._allegiance.is_silent(now)
        if self._station.rules.tells_lapse and not hears_heartbeats:
            self._roles.become_follower(now)

    def lease_ended(self, message: LeaseEnded, sender: PeerId, now: float) -> None:
        """Follow nobody, since the leader says that it leads no more."""
        followed = self._allegiance.certificate
        if followed is not None and sender == followed.ballot.peer_id and message.ballot >= followed.ballot:
            self._roles.become_follower(now)

    def announced(self, announce: Announce, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        """Take the proof of a leader."""
        ballot = announce.certificate.ballot
        match self._proofs.weigh(announce, now=now):
            case Worth.FOLLOW:
                self._roles.become_follower(now, announce)
            case Worth.OTHER_SIDE:
                self._meet(announce, sender, now, effects)
            case Worth.JUMP:
                self._alarms.jump(ballot, sender, now, effects)
            case Worth.NOTHING:
                if sender == self._allegiance.leader == ballot.peer_id and sender != self._station.me:
                    self._allegiance.count(announce.followers)

    def show_certificate(self, to: PeerId, now: float, effects: list[MachineEffect]) -> None:
        """Show the proof of the followed leader."""
        followed = self._allegiance.certificate
        if followed is not None and self._proofs.may_show(now):
            effects.append(Tell(to, Announce(certificate=followed, followers=self._allegiance.followers)))

    def ask_certificate(self, ballot: Ballot, of: PeerId, now: float, effects: list[MachineEffect]) -> None:
        """Ask for the proof of a leader that somebody named."""
        if self._proofs.may_ask(now):
            effects.append(Tell(of, CertificateRequest(ballot=ballot)))

    def _meet(self, announce: Announce, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        """Bring the two leaders together; without one, tell the other that this peer promised more."""
        ballot, followed = announce.certificate.ballot, self._allegiance.certificate
        self._promises.hear(ballot)
        if followed is None:
            if ballot < self._promises.floor:
                self._protest(ballot, now, effects)
        elif sender != ballot.peer_id and ballot < followed.ballot:
            self.show_certificate(sender, now, effects)  # it follows a lower leader; its own leader will hear of ours
        elif self._roles.leadership is not None and self._station.rules.unites_sides:
            self._roles.meet(announce, is_own_word=sender == ballot.peer_id, now=now, effects=effects)
        elif ballot < followed.ballot:
            self.show_certificate(sender, now, effects)
        elif self._station.rules.unites_sides and self._proofs.may_show(now):
            effects.append(Tell(followed.ballot.peer_id, announce))

    def _count_follower(self, claim: LeaderClaim, sender: PeerId) -> None:
        leadership = self._roles.leadership
        if leadership is not None:
            leadership.followed_by(sender)
            self._allegiance.count(leadership.followers)
        elif sender == self._allegiance.leader:
            self._allegiance.count(claim.followers)

    def _protest(self, ballot: Ballot, now: float, effects: list[MachineEffect]) -> None:
        """Tell a leader that this peer cannot follow it, because of a higher promise: it has to be elected again."""
        if self._proofs.may_ask(now):
            protest = HeartbeatAck(ballot=ballot, sequence=PROTEST_SEQUENCE, highest=self._promises.top)
            effects.append(Tell(ballot.peer_id, protest))
