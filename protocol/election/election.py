"""The election machine of one peer (DESIGN section 6); what the two modes do differently is in ``rules``.

The theory is Raft's election (Raft 2014, section 5.2; thesis, sections 3.10, 4.2.3, 6.4.1 and 9.6) with three
departures. Ballots are (term, candidate) pairs and a leader proves itself to anybody by a certificate of signed
votes, so a follower trusts no single voter. In the *available* mode the council follows the membership: the lowest
ids alive, as each peer sees them, so a certificate also has to hold in the view of whoever follows it. And two leaders
may exist there while a network is cut; when the sides meet, one merge election unites them.

This file holds what each input means; ``roles`` holds what the roles do, and when.
"""

import math
import random

from protocol.config import ProtocolConfig
from protocol.effects import (
    Alarm,
    Electorate,
    LeaderChanged,
    MachineEffect,
    Persist,
    Promise,
    Report,
    Role,
    RoleChanged,
    Tell,
)
from protocol.election.alarms import Alarms
from protocol.election.allegiance import Allegiance
from protocol.election.handing_over import choose_successor, obstacle_to
from protocol.election.proofs import Proofs
from protocol.election.roles import Roles
from protocol.election.rules import Rules
from protocol.election.sides import PROTEST_SEQUENCE, Sides
from protocol.election.station import Station
from protocol.election.voter_lists import VoterLists
from protocol.election.voting import Opinion, Voter
from protocol.identity import Identity, Verifier
from protocol.ids import NetworkId, PeerId
from protocol.messages import (
    Announce,
    CertificateRequest,
    Handover,
    Heartbeat,
    HeartbeatAck,
    LeaderClaim,
    LeaseEnded,
    Message,
    PreVoteReply,
    PreVoteRequest,
    VoteReply,
    VoteRequest,
    VotersKnown,
)
from protocol.statements import Certificate, council_hash


class Election:
    """Decides whom this peer follows, votes for, and whether it leads.

    Invariants:
        1. The followed ballot is the highest that this peer ever accepted.
        2. What changed is reported once, at the end of the call that changed it; so are accepted ballots that the
           disk must learn. A vote reaches the disk before it is sent.
        3. Those of the parts.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        network_id: NetworkId,
        boot: int,
        config: ProtocolConfig,
        verifier: Verifier,
        random: random.Random,
        promise: Promise | None,
        may_vote: bool,
        rules: Rules,
        now: float,
    ) -> None:
        """Start as a follower of nobody that is not ready yet.

        Args:
            promise: What this peer's vote file holds; None on a fresh peer.
            may_vote: False when a promise was made and is lost.
            rules: Those of the network's mode.
        """
        self._station = Station(
            identity=identity,
            network_id=network_id,
            boot=boot,
            config=config,
            verifier=verifier,
            random=random,
            promise=promise,
            may_vote=may_vote,
            rules=rules,
        )
        self._promises = self._station.promises
        self._allegiance = Allegiance(config, now=now)
        self._voter = Voter(self._station, self._allegiance)
        self._proofs = Proofs(self._station, self._allegiance)
        self._roles = Roles(self._station, self._allegiance, self._voter)
        self._alarms = Alarms(self._station)
        self._sides = Sides(self._station, self._allegiance, self._proofs, self._roles, self._alarms)
        self._lists = VoterLists(self._station, self._alarms)
        self._roles.has_unsaved_ballot = self._lists.begin(boot)
        self._reported_role: Role = "follower"
        self._reported_certificate: Certificate | None = None

    @property
    def role(self) -> Role:
        """This peer's part; a candidate is one that asks for votes, not yet one that asks for opinions."""
        return self._roles.role

    @property
    def term(self) -> int:
        """The highest term that this peer signed or accepted."""
        return self._promises.top.term

    @property
    def leader(self) -> PeerId | None:
        """Who is followed."""
        return self._allegiance.leader

    @property
    def certificate(self) -> Certificate | None:
        """What proves the followed leader."""
        return self._allegiance.certificate

    @property
    def council(self) -> tuple[PeerId, ...]:
        """Who votes, as far as this peer knows, ascending."""
        return self._station.council

    @property
    def lease_until(self) -> float:
        """When the own lease ends, on this peer's clock; minus infinity for a peer that does not lead."""
        leadership = self._roles.leadership
        return leadership.lease_until if leadership is not None and not leadership.is_lapsed else -math.inf

    @property
    def followed_since(self) -> float:
        """When this peer began to follow its leader, or nobody."""
        return self._allegiance.since

    @property
    def claim(self) -> LeaderClaim | None:
        """Whom to name to others; the same object as long as it says the same."""
        return self._allegiance.claim

    # Inputs

    def electorate_changed(self, electorate: Electorate, now: float) -> list[MachineEffect]:
        """Take a new view of the members; who is suspect matters only when somebody asks for it."""
        known = self._station.electorate
        if electorate is not known and (electorate.living, electorate.ready) == (known.living, known.ready):
            self._station.electorate = electorate
            return []
        effects: list[MachineEffect] = []
        self._roles.judge_lease(now, effects)
        station, roles, leader = self._station, self._roles, self.leader
        was_ready, was_in_council = station.electorate.ready, station.in_council
        change = station.see(electorate)
        if station.in_council and not was_in_council:
            self._allegiance.heard(now)  # heartbeats come from now on
        if leader is not None and not (station.is_living(leader) and self._is_believed(now)):
            roles.become_follower(now)
        held = self._proofs.take_held(now)
        if held is not None:
            roles.become_follower(now, held)
        if roles.leadership is not None:
            effects.extend(roles.leadership.view_changed(change, now))
            roles.judge_lease(now, effects)
        elif self.leader is None:
            if change.is_new_council or electorate.ready != was_ready:
                roles.plan(now)
        elif station.in_council != was_in_council or electorate.ready != was_ready:
            roles.plan(now)
        if change.is_new_council:
            roles.campaign(lambda: roles.candidacy.view_changed(now), now, effects)
        self._answer_early(now, effects)
        roles.step(now, effects)
        return self._reported(effects)

    def handle(self, message: Message, sender: PeerId, now: float) -> list[MachineEffect]:
        """Take a message of a member; nothing in it is believed but what is signed."""
        effects: list[MachineEffect] = []
        self._roles.judge_lease(now, effects)
        match message:
            case Heartbeat():
                self._heartbeat(message, sender, now, effects)
            case HeartbeatAck():
                self._acknowledged(message, sender, now, effects)
            case PreVoteRequest():
                self._opinion_asked(message, sender, now, effects)
            case PreVoteReply():
                self._opinion_given(message, sender, now, effects)
            case VoteRequest():
                self._vote_asked(message, sender, now, effects)
            case VoteReply():
                candidacy = self._roles.candidacy
                self._roles.campaign(lambda: candidacy.vote_replied(message, sender=sender, now=now), now, effects)
            case Announce():
                self._lists.compare(message.certificate.council, sender, now, effects)
                self._sides.announced(message, sender, now, effects)
            case CertificateRequest():
                self._sides.show_certificate(sender, now, effects)
            case Handover():
                self._handed_over(message, sender, now, effects)
            case VotersKnown():
                self._voters_known(message, sender, now, effects)
            case LeaseEnded():
                self._sides.lease_ended(message, sender, now)
        return self._reported(effects)

    def claim_seen(self, claim: LeaderClaim, sender: PeerId, now: float) -> list[MachineEffect]:
        """Take a member's word on whom it follows; ask for the proof of a higher leader, show that of ours."""
        effects: list[MachineEffect] = []
        self._roles.judge_lease(now, effects)
        self._sides.claimed(claim, sender, now, effects)
        return self._reported(effects)

    def claim_missed(self, now: float) -> list[MachineEffect]:
        """The followed leader sent a word that does not say that it leads."""
        effects: list[MachineEffect] = []
        self._roles.judge_lease(now, effects)
        self._sides.claim_missed(now)
        return self._reported(effects)

    def greet(self, peer_id: PeerId, now: float) -> list[MachineEffect]:
        """Tell a peer that was just met which voters this one knows, where there is a list of them."""
        effects: list[MachineEffect] = []
        if not self._station.rules.unites_sides:
            self._lists.tell(peer_id, now, effects)
        return effects

    def hand_over(self, successor: PeerId | None, now: float) -> list[MachineEffect]:
        """Release the lead in favour of ``successor``, or of whom this leader thinks best; only a leader can."""
        effects: list[MachineEffect] = []
        self._roles.judge_lease(now, effects)
        if self._roles.leads:
            chosen = choose_successor(self._station, successor)
            if chosen is not None:
                self._roles.release_to(chosen, now, effects)
            else:
                effects.append(Report(Alarm("no handover: nobody else fits, or the one asked for is not surely alive")))
        return self._reported(effects)

    def handover_obstacle(self, successor: PeerId | None) -> str:
        """Return why ``hand_over`` to ``successor`` would not be carried out here just now; empty when it would."""
        return obstacle_to(self._station, successor) if self._roles.leads else "it is not the leader"

    def wake(self, now: float, late_by: float) -> list[MachineEffect]:
        """Do what is due. ``late_by`` tells how long this process did not run, in seconds."""
        effects: list[MachineEffect] = []
        self._roles.judge_lease(now, effects)
        if late_by >= self._station.config.heartbeat_interval_s:
            self._roles.excuse(now, late_by)
        if self._voter.next_deadline() <= now:
            self._answer_early(now, effects)
        self._roles.step(now, effects)
        return self._reported(effects)

    def next_deadline(self) -> float:
        """Return when ``wake`` wants to be called; infinity when only an input can change anything."""
        return min(self._roles.next_deadline(), self._voter.next_deadline())

    def check_invariants(self) -> None:
        """Assert what the class docstring promises."""
        for part in (self._station, self._allegiance, self._voter, self._proofs, self._roles):
            part.check_invariants()
        followed = self._allegiance.certificate
        assert followed is None or followed.ballot == self._promises.highest
        assert followed is self._reported_certificate and self.role == self._reported_role

    def _is_believed(self, now: float) -> bool:
        """Return whether the followed leader may be followed on: one that was taken on trust must hold in each view."""
        followed = self._allegiance.certificate
        if followed is None or not self._promises.is_on_trust(now):
            return True
        return self._station.rules.holds(followed, self._station.council)

    # Heartbeats

    def _heartbeat(self, message: Heartbeat, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        followed = self._allegiance.certificate
        highest = self._promises.top
        if followed is not None and message.ballot == followed.ballot and sender == self.leader:
            self._allegiance.heard(now)
            self._allegiance.count(message.followers)
            self._roles.leader_heard(now)
            if not self._station.may_grant(message.ballot, now=now):
                return
            self._station.rules.grant(message.ballot, now=now)
            sequence = message.sequence
        elif not self._promises.refuses_act(message.ballot):
            self._sides.ask_certificate(message.ballot, sender, now, effects)
            return
        else:
            self._sides.show_certificate(sender, now, effects)
            # With fixed voters a refusal must never carry a lease, whatever it names as highest.
            sequence = message.sequence if self._station.rules.unites_sides else PROTEST_SEQUENCE
        effects.append(Tell(sender, HeartbeatAck(ballot=message.ballot, sequence=sequence, highest=highest)))

    def _acknowledged(self, message: HeartbeatAck, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        leadership = self._roles.leadership
        if leadership is None or message.ballot != leadership.certificate.ballot:
            return
        highest = message.highest
        if highest > message.ballot and highest.peer_id != self._station.me:
            if self._promises.is_jump(highest):
                self._alarms.jump(highest, sender, now, effects)
            elif self._station.is_living(sender):
                self._promises.hear(highest)
                leadership.protested(now)
                self._sides.ask_certificate(highest, sender, now, effects)
            return
        leadership.acknowledged(message, sender=sender)
        self._roles.judge_lease(now, effects)
        self._allegiance.count(leadership.followers)

    # Opinions and votes

    def _opinion_asked(self, request: PreVoteRequest, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        self._alarms.watch(request.ballot, sender, now, effects)
        self._lists.compare(request.council, sender, now, effects)
        opinion = self._voter.opinion(request, sender=sender, now=now)
        if opinion is Opinion.YES:
            self._roles.yield_to(sender, now)
        elif opinion is Opinion.NOT_NOW:
            self._voter.remember(request, sender=sender, now=now)
        effects.append(self._voter.reply(request, is_granted=opinion is Opinion.YES, sender=sender))

    def _answer_early(self, now: float, effects: list[MachineEffect]) -> None:
        """Tell a candidate that asked too early, and that would now get a yes."""
        pleased = self._voter.pleased(now)
        if pleased is not None:
            sender, request = pleased
            self._roles.yield_to(sender, now)
            effects.append(self._voter.reply(request, is_granted=True, sender=sender))

    def _opinion_given(self, reply: PreVoteReply, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        self._alarms.watch(reply.highest, sender, now, effects)
        candidacy = self._roles.candidacy
        self._roles.campaign(lambda: candidacy.pre_vote_replied(reply, sender=sender, now=now), now, effects)
        is_refused = not reply.granted and candidacy.campaign is not None and self.leader is None
        if is_refused and reply.highest >= self._promises.floor and reply.highest.term:
            self._sides.ask_certificate(reply.highest, sender, now, effects)  # it may follow a leader unknown here

    def _vote_asked(self, request: VoteRequest, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        self._alarms.watch(request.ballot, sender, now, effects)
        if self._voter.opinion(request, sender=sender, now=now) is not Opinion.YES:
            effects.append(Tell(sender, VoteReply(ballot=request.ballot, highest=self._promises.top)))
            return
        named = council_hash(request.council)
        effects.extend(self._station.promise_vote(request.ballot, named, now=now))
        self._roles.give_up_campaign(now)  # its term is below the promise now, and it could still be won
        if self.leader != sender:
            self._roles.become_follower(now, for_another=request.is_merge)  # the vote fences the leader before
            self._roles.yield_to(sender, now)
        vote = self._station.sign_vote(request.ballot, named)
        effects.append(Tell(sender, VoteReply(ballot=request.ballot, highest=self._promises.top, vote=vote)))

    def _handed_over(self, message: Handover, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        station = self._station
        may_lead = station.rules.may_lead(station.me, station.council) and not station.is_silenced
        if may_lead and sender == self.leader and self._voter.is_released(message.release, successor=station.me):
            self._roles.become_candidate(now, effects, release=message.release)

    # The list of voters

    def _voters_known(self, message: VotersKnown, sender: PeerId, now: float, effects: list[MachineEffect]) -> None:
        if not self._lists.heard(message, sender, now, effects):
            return
        self._lists.spread(self.leader, now, effects)
        self._roles.has_unsaved_ballot |= self._lists.readmit()
        effects.extend(self.electorate_changed(self._station.electorate, now))
        if self._roles.leads and not self._station.in_council:
            effects.extend(self.hand_over(None, now))

    def _reported(self, effects: list[MachineEffect]) -> list[MachineEffect]:
        """Add what changed since the last report."""
        certificate, role = self._allegiance.certificate, self.role
        if role != self._reported_role:
            self._reported_role = role
            effects.append(Report(RoleChanged(role, self.term)))
        if certificate is not self._reported_certificate:
            self._reported_certificate = certificate
            effects.append(Report(LeaderChanged(certificate)))
        self._lists.keep(effects)
        if self._roles.has_unsaved_ballot:
            self._roles.has_unsaved_ballot = False
            effects.append(Persist(self._promises.promise))
        return effects
