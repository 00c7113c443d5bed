"""Follower, candidate, leader: how a peer enters each role, and what each does when its time has come.

A role is entered by one ``become_*`` method that sets everything (etcd raft). Between roles there are only times:
``stand_at``, when a council member that does not lead stands, and when any other peer without a leader asks around.
"""

import math
from collections.abc import Callable
from typing import Final

from protocol.effects import MachineEffect, Role, Tell
from protocol.election.allegiance import Allegiance
from protocol.election.candidacy import Candidacy
from protocol.election.handing_over import PlannedHandover
from protocol.election.leading import Leadership
from protocol.election.station import Station
from protocol.election.voting import Voter
from protocol.ids import PeerId
from protocol.messages import Announce, CertificateRequest
from protocol.statements import Release

_DOUBLINGS_MAX: Final = 3
"""A peer that fails to find a leader again and again doubles its first pause at most so often."""


class Roles:
    """The part that this peer plays.

    Invariants:
        1. A leader follows its own certificate; one whose lease lapsed follows nobody.
        2. A ready council member that neither leads nor campaigns has a time at which it will stand.
    """

    def __init__(self, station: Station, allegiance: Allegiance, voter: Voter) -> None:
        self.candidacy: Final = Candidacy(station)
        self.leadership: Leadership | None = None
        self.has_unsaved_ballot = False
        """Whether a ballot was accepted that the disk must learn at the end of this call."""

        self._station = station
        self._allegiance = allegiance
        self._voter = voter
        self._handover: PlannedHandover | None = None
        self._stand_at = math.inf
        self._yielded_to: PeerId | None = None
        self._yields_until = -math.inf
        self._failures = 0

    @property
    def role(self) -> Role:
        """This peer's part; a candidate is one that asks for votes, not yet one that asks for opinions."""
        if self.leads:
            return "leader"
        return "candidate" if self.candidacy.is_voting else "follower"

    @property
    def leads(self) -> bool:
        """Whether this peer leads, with a lease."""
        return self.leadership is not None and not self.leadership.is_lapsed

    # Entering a role

    def become_follower(self, now: float, announce: Announce | None = None, *, for_another: bool = False) -> None:
        """Follow the leader that ``announce`` proves, or nobody; in a merge ``for_another`` than a living leader."""
        self.leadership = None
        self._failures = 0
        if announce is None:
            self._station.promises.forget_trust(now)
            self._allegiance.drop(now=now, for_another=for_another)
        else:
            self.candidacy.abandon()
            self._handover = None
            self._yielded_to = None
            self.has_unsaved_ballot |= self._station.promises.accept(announce.certificate.ballot, now=now)
            self._allegiance.follow(announce.certificate, followers=announce.followers, now=now)
        self.plan(now)

    def become_candidate(self, now: float, effects: list[MachineEffect], *, release: Release | None = None) -> None:
        """Try to become the leader of the present council."""
        self.leadership = None
        self._handover = None
        self._stand_at = math.inf
        self._voter.favour(self._station.me, now=now)
        self.campaign(lambda: self.candidacy.stand(now, release=release), now, effects)

    def become_leader(self, now: float, effects: list[MachineEffect]) -> None:
        """Lead with the votes of the own campaign, and tell everybody."""
        campaign = self.candidacy.campaign
        assert campaign is not None and campaign.asked_votes_at is not None, "only a won campaign makes a leader"
        certificate = campaign.certificate()
        self.candidacy.abandon()
        self._handover = None
        self._stand_at = math.inf
        self._failures = 0
        self.has_unsaved_ballot |= self._station.promises.accept(certificate.ballot, now=now)
        leadership = Leadership(self._station, certificate, asked_votes_at=campaign.asked_votes_at, now=now)
        self.leadership = leadership
        self._allegiance.follow(certificate, followers=leadership.followers, now=now)
        effects.extend(leadership.announce_to(self._station.electorate.living))

    def release_to(self, successor: PeerId, now: float, effects: list[MachineEffect]) -> None:
        """Sign the own lead away."""
        assert self.leadership is not None and self.leads, "only a leader has something to release"
        handover = PlannedHandover(self._station, self.leadership.certificate.ballot, successor)
        self.candidacy.abandon()
        self.become_follower(now)
        self._handover = handover
        self._stand_at = now + self._station.patience_s()
        effects.extend(handover.wake(now))

    # Staying in one

    def campaign(self, move: Callable[[], list[MachineEffect]], now: float, effects: list[MachineEffect]) -> None:
        """Let the candidacy make a move, and carry on with what came of it."""
        had_campaign = self.candidacy.campaign is not None
        effects.extend(move())
        if self.candidacy.is_won:
            self.become_leader(now, effects)
            self.judge_lease(now, effects)  # the votes may have come when the lease was over
        elif self.candidacy.is_voting:
            if not self.leads:
                self._allegiance.drop(now=now)  # the own vote fences the leader before
        elif had_campaign and self.candidacy.campaign is None and not self.leads:
            self._failures += 1
            self.plan(now, pause_s=self._backoff_s())

    def give_up_campaign(self, now: float) -> None:
        """End the own attempt, if there is one, whatever it has come to."""
        if self.candidacy.campaign is not None:
            self.candidacy.abandon()
            self.plan(now)

    def plan(self, now: float, *, pause_s: float = 0.0) -> None:
        """Set the time of the next own step: patience with a leader, else the turn in the council.

        Args:
            pause_s: What a peer without a leader waits at least, in seconds.
        """
        station = self._station
        if self.candidacy.campaign is not None or not station.electorate.ready:
            self._stand_at = math.inf
        elif self._allegiance.certificate is not None and not (station.in_council and self._allegiance.is_silent(now)):
            self._stand_at = now + station.patience_s() if station.in_council else math.inf
        elif station.may_stand:
            self._stand_at = max(now + pause_s, station.rules.free_at(station.me)) + station.stagger_s()
        else:
            self._stand_at = now + max(pause_s, self._backoff_s())
        if self._yielded_to is not None and station.is_living(self._yielded_to):
            self._stand_at = max(self._stand_at, self._yields_until)

    def yield_to(self, candidate: PeerId, now: float) -> None:
        """Let a candidate, that this peer would vote or voted for, go first."""
        timeout_s = self._station.config.vote_timeout_s
        self._voter.favour(candidate, now=now)
        self._yielded_to = candidate
        self._yields_until = now + timeout_s * (1 + self._station.random.random() / 2) + self._station.stagger_s()
        if not self.candidacy.is_voting:
            self.candidacy.abandon()
        if not self.leads:
            self.plan(now)

    def leader_heard(self, now: float) -> None:
        """Be patient again; an attempt that began while the leader seemed silent ends, unless a term was spent."""
        if not self.candidacy.is_voting:
            self.candidacy.abandon()
        self.plan(now)

    def meet(self, announce: Announce, *, is_own_word: bool, now: float, effects: list[MachineEffect]) -> None:
        """Take the proof of another leader that this one neither follows nor fences."""
        leadership, certificate = self.leadership, announce.certificate
        assert leadership is not None, "leaders meet"
        if leadership.rivals.met(certificate.ballot, followers=announce.followers, is_own_word=is_own_word, now=now):
            effects.append(Tell(certificate.ballot.peer_id, leadership.announcement()))
        self._step_leader(leadership, now, effects)

    def excuse(self, now: float, late_by: float) -> None:
        """Do not hold the silence of others against them while this process itself did not run."""
        if late_by < self._station.config.lease_s:
            self._allegiance.excuse(late_by)
        else:
            self._allegiance.heard(now)  # what it said meanwhile still waits in the socket
            self.candidacy.abandon()
        if not self.leads:
            self.plan(now, pause_s=self._station.config.heartbeat_interval_s)

    def judge_lease(self, now: float, effects: list[MachineEffect]) -> None:
        """Lapse at the end of the lease, before anything else is done; lead on when a majority still accepts it."""
        leadership = self.leadership
        if leadership is None or leadership.is_lapsed == (now >= leadership.lease_until):
            return
        station = self._station
        leadership.is_lapsed = not leadership.is_lapsed
        if leadership.is_lapsed:
            self._allegiance.drop(now=now)
            self._stand_at = leadership.falls_silent_at = now + station.patience_s()
            effects.extend(leadership.heartbeat(now))
            if station.rules.tells_lapse:
                effects.extend(leadership.end_openly())
        else:
            self._allegiance.follow(leadership.certificate, followers=leadership.followers, now=now)
            self._stand_at = math.inf
            if station.rules.tells_lapse:
                effects.extend(leadership.announce_to(station.electorate.living))

    # When time has come

    def step(self, now: float, effects: list[MachineEffect]) -> None:
        """Do what is due in the present role."""
        if self.candidacy.next_deadline() <= now:
            self.campaign(lambda: self.candidacy.wake(now), now, effects)
        if self._handover is not None:
            effects.extend(self._handover.wake(now))
        if self.leadership is not None:
            self._step_leader(self.leadership, now, effects)
        if not self.leads and now >= self._stand_at:
            self._step_follower(now, effects)

    def next_deadline(self) -> float:
        """Return when ``step`` or ``judge_lease`` wants to be called."""
        return min(
            self._stand_at,
            self.candidacy.next_deadline(),
            self.leadership.next_deadline() if self.leadership else math.inf,
            self._handover.next_deadline() if self._handover else math.inf,
        )

    def check_invariants(self) -> None:
        """Assert what the class docstring promises."""
        self.candidacy.check_invariants()
        station = self._station
        if self.leadership is not None:
            self.leadership.check_invariants()
            assert self._allegiance.certificate is (self.leadership.certificate if self.leads else None)
        if station.electorate.ready and station.in_council and not self.leads and self.candidacy.campaign is None:
            assert self._stand_at < math.inf

    def _step_leader(self, leadership: Leadership, now: float, effects: list[MachineEffect]) -> None:
        if leadership.is_lapsed and now >= leadership.falls_silent_at:
            self.leadership = None
            return
        if leadership.is_heartbeat_due(now):
            effects.extend(leadership.heartbeat(now))
        if leadership.must_renew(now):
            leadership.renewal_tried(now)
            if self.candidacy.campaign is None:
                self._voter.favour(self._station.me, now=now)
                self.campaign(lambda: self.candidacy.stand(now, is_merge=True), now, effects)
        if self.leadership is leadership and self.leads and leadership.rivals.must_ask(leadership.side, now=now):
            assert leadership.rivals.rival is not None
            effects.append(Tell(leadership.rivals.rival.ballot.peer_id, leadership.announcement()))

    def _step_follower(self, now: float, effects: list[MachineEffect]) -> None:
        """Stand, or ask a council member whom it follows."""
        station = self._station
        if station.may_stand:
            self.become_candidate(now, effects)
            return
        self._failures += 1
        self.plan(now)
        others = [member for member in station.electorate.living if member != station.me]
        voters = [member for member in station.council if member in others]
        fit = [member for member in voters if member not in station.electorate.suspects]
        candidates = fit or voters or others
        if candidates:
            asked = station.random.choice(candidates)
            effects.append(Tell(asked, CertificateRequest(ballot=station.promises.floor)))

    def _backoff_s(self) -> float:
        """Return a random pause that grows with each failure, in seconds."""
        pause_s = self._station.config.vote_timeout_s * (0.5 + self._station.random.random())
        return pause_s * float(1 << min(self._failures, _DOUBLINGS_MAX))
