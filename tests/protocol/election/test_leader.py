"""The leader: heartbeats, lease, renewal, handover."""

import pytest

from protocol.config import LOCAL
from protocol.effects import LeaderChanged, MachineEffect, Report, RoleChanged, Tell
from protocol.election import Election
from protocol.election.promises import NO_BALLOT
from protocol.messages import (
    Announce,
    CertificateRequest,
    Handover,
    Heartbeat,
    HeartbeatAck,
    LeaderClaim,
    PreVoteReply,
    PreVoteRequest,
    VoteReply,
    VoteRequest,
)
from tests.protocol.election.papers import (
    acknowledge,
    ballot,
    certificate,
    follower,
    lead_on,
    leader,
    names,
    newcomer,
    pre_vote_request,
    release,
    told,
    vote,
)
from tests.protocol.election.town import electorate, id_of, ids

BEAT_S = LOCAL.heartbeat_interval_s
LEASE_S = LOCAL.lease_s
SETTLED_S = LOCAL.view_settle_s


def elected_outside_its_council() -> Election:
    """Return the machine of peer 8, elected in term 1 by itself and peer 9, that then meets seven lower ids."""
    subject = newcomer(8, sees=(8, 9))
    on = ballot(1, 8)
    subject.handle(PreVoteReply(ballot=on, granted=True, highest=NO_BALLOT), id_of(9), 0.0)
    subject.handle(VoteReply(ballot=on, highest=on, vote=vote(9, on, (8, 9))), id_of(9), 0.0)
    assert subject.role == "leader"
    subject.electorate_changed(electorate(range(10)), 0.0)
    return subject


def test_heartbeats_go_to_the_council_only() -> None:
    """At most six others, however large the network is."""
    subject = leader(sees=range(40))

    effects = subject.wake(BEAT_S, 0.0)

    beat = Heartbeat(ballot=ballot(1, 0), sequence=1, followers=40)
    assert effects == [Tell(id_of(member), beat) for member in range(1, 7)]
    assert subject.next_deadline() == pytest.approx(2 * BEAT_S)


def test_leader_goes_on_while_a_majority_acknowledges() -> None:
    """Two of the four others are enough."""
    subject = leader()
    for _ in lead_on(subject, until=3.0, by=(3, 4)):
        assert subject.role == "leader"


def test_leader_without_a_majority_lapses_at_the_end_of_its_lease() -> None:
    """Check-quorum; the lease counts from the sending of the last accepted round."""
    subject = leader()
    subject.wake(BEAT_S, 0.0)
    acknowledge(subject, by=(1, 2), sequence=1, now=BEAT_S + 0.04)
    subject.wake(2 * BEAT_S, 0.0)
    acknowledge(subject, by=(1,), sequence=2, now=2 * BEAT_S + 0.01)
    subject.wake(3 * BEAT_S, 0.0)

    assert subject.next_deadline() == pytest.approx(BEAT_S + LEASE_S)
    effects = subject.wake(BEAT_S + LEASE_S, 0.0)

    assert effects[-2:] == [Report(RoleChanged("follower", 1)), Report(LeaderChanged(None))]
    assert subject.claim is None


def test_leader_that_was_stopped_steps_down_before_anything_else() -> None:
    """Acks that wait in the socket change nothing; it asks whether it is still accepted."""
    subject = leader()
    subject.wake(BEAT_S, 0.0)

    effects = subject.wake(3.0, late_by=2.8)

    assert names(effects) == ["Heartbeat"] * 4 + ["RoleChanged", "LeaderChanged"]
    acknowledge(subject, by=(1, 2, 3, 4), sequence=1, now=3.001)
    assert (subject.role, subject.leader) == ("follower", None)


def test_any_input_finds_an_ended_lease_ended() -> None:
    """Also when the input comes before the timer."""
    subject = leader()

    effects = subject.handle(CertificateRequest(ballot=ballot(1, 0)), id_of(3), 1.0)

    assert "Announce" not in names(effects)
    assert subject.role == "follower"


def test_lapsed_leader_leads_on_in_the_same_term_when_a_majority_still_accepts_it() -> None:
    """A short stall costs no election."""
    subject = leader()
    subject.wake(1.0, late_by=0.9)

    acknowledge(subject, by=(1, 2), sequence=1, now=1.002)

    assert (subject.role, subject.term, subject.leader) == ("leader", 1, id_of(0))


def test_lapsed_leader_follows_its_successor() -> None:
    """The first higher ballot that it hears of, with its proof."""
    subject = leader()
    subject.wake(1.0, late_by=0.9)

    subject.handle(Announce(certificate=certificate(2, term=2), followers=5), id_of(3), 1.002)

    assert subject.leader == id_of(2)
    acknowledge(subject, by=(1, 2, 3, 4), sequence=1, now=1.003)
    assert subject.role == "follower"


def test_lapsed_leader_that_may_not_vote_falls_silent() -> None:
    """Its followers cling to it for as long as its heartbeats come, so that nobody else could be elected."""
    subject = elected_outside_its_council()
    beats = []
    while subject.next_deadline() <= 5.0:
        now = subject.next_deadline()
        beats += [now for name in names(subject.wake(now, 0.0)) if name == "Heartbeat"]

    assert LEASE_S < max(beats) <= LEASE_S + 2 * LOCAL.election_timeout_s


def test_lapsed_leader_falls_silent_whoever_stands_meanwhile() -> None:
    """A member that asks again and again what it thinks of its standing does not keep its followers clinging to it."""
    subject = leader()
    beats = []
    for step in range(50):
        now = LEASE_S + 0.1 * step
        effects = subject.wake(now, 0.0)
        effects += subject.handle(pre_vote_request(1, term=2), id_of(1), now)
        beats += [now for name in names(effects) if name == "Heartbeat"]

    assert LEASE_S < max(beats) <= LEASE_S + 2 * LOCAL.election_timeout_s


def test_unproved_higher_ballot_does_not_depose_a_leader() -> None:
    """One hostile voter could say anything: the leader asks for the proof, and the lease decides."""
    subject = leader()
    lie = HeartbeatAck(ballot=ballot(1, 0), sequence=1, highest=ballot(2, 3))

    effects = subject.handle(lie, id_of(3), 0.05)

    assert effects == [Tell(id_of(3), CertificateRequest(ballot=ballot(2, 3)))]
    assert subject.role == "leader"


def test_leader_is_elected_again_for_a_voter_that_promised_more() -> None:
    """Otherwise that voter could follow nobody."""
    subject = leader()
    subject.handle(HeartbeatAck(ballot=ballot(1, 0), sequence=1, highest=ballot(2, 3)), id_of(3), 0.05)
    passed = lead_on(subject, until=1.5, by=(1, 2))
    requests = [effect.message for _, effect in passed if _is_question(effect)]

    assert PreVoteRequest(ballot=ballot(3, 0), council=ids(range(5)), is_merge=True) in requests
    assert subject.role == "leader"


def test_impossible_term_of_a_voter_raises_an_alarm() -> None:
    """And nothing else."""
    lie = HeartbeatAck(ballot=ballot(1, 0), sequence=1, highest=ballot(2**62, 3))

    assert names(leader().handle(lie, id_of(3), 0.05)) == ["Alarm"]


def test_leader_announces_itself_to_newcomers() -> None:
    """They need not find out by themselves."""
    effects = leader().electorate_changed(electorate(range(7)), 0.05)

    announced = [receiver for receiver, message in told(effects) if isinstance(message, Announce)]
    assert announced == [5, 6]


def test_certificate_that_still_holds_is_not_renewed() -> None:
    """As few terms as possible: three signers of five are a majority of the four that are left as well."""
    subject = leader()
    subject.electorate_changed(electorate([0, 1, 2, 3]), 0.05)

    assert not any(_is_question(effect) for _, effect in lead_on(subject, until=2.0, by=(1, 2)))
    assert (subject.role, subject.term) == ("leader", 1)


def test_certificate_that_holds_no_more_is_renewed_once_the_view_settled() -> None:
    """A merge election of the leader itself, in the new council, while it goes on leading."""
    subject = leader()
    subject.electorate_changed(electorate([0, 2, 3, 4]), 0.05)

    passed = lead_on(subject, until=0.5, by=(2, 3, 4))
    at, question = next((at, effect) for at, effect in passed if _is_question(effect))

    assert at == pytest.approx(0.05 + SETTLED_S)
    assert question == Tell(id_of(2), PreVoteRequest(ballot=ballot(2, 0), council=ids([0, 2, 3, 4]), is_merge=True))
    assert subject.role == "leader"


def _is_question(effect: MachineEffect) -> bool:
    return isinstance(effect, Tell) and isinstance(effect.message, PreVoteRequest)


def test_leader_counts_its_followers_by_their_claims() -> None:
    """Members of another side live here, but do not follow."""
    subject = leader()
    subject.electorate_changed(electorate(range(8)), 0.05)
    assert subject.claim is not None and subject.claim.followers == 5

    subject.claim_seen(LeaderClaim(ballot(1, 0), 5), id_of(6), 0.06)

    assert subject.claim.followers == 6


def test_handover_is_signed_and_ends_the_lead_at_once() -> None:
    """The successor is told again, should the datagram be lost."""
    subject = leader()

    effects = subject.hand_over(id_of(3), 0.05)

    order = Tell(id_of(3), Handover(release=release(0, 3)))
    assert effects == [order, Report(RoleChanged("follower", 1)), Report(LeaderChanged(None))]
    assert subject.wake(subject.next_deadline(), 0.0) == [order]


@pytest.mark.parametrize(("wished", "chosen"), [(None, 2), (3, 3), (1, None), (0, None), (9, None)])
def test_lead_is_never_handed_to_a_suspect(wished: int | None, chosen: int | None) -> None:
    """Peer 1 is one; peer 9 is no member; nobody hands over to itself."""
    subject = leader()
    subject.electorate_changed(electorate(range(5), suspects=[1]), 0.05)

    effects = subject.hand_over(None if wished is None else id_of(wished), 0.06)

    handed_to = [receiver for receiver, message in told(effects) if isinstance(message, Handover)]
    assert handed_to == ([] if chosen is None else [chosen])
    assert subject.role == ("leader" if chosen is None else "follower")


@pytest.mark.parametrize(
    ("wished", "words"), [(None, ""), (3, ""), (1, "suspected"), (0, "leads already"), (9, "no such living member")]
)
def test_what_keeps_a_handover_from_being_done_is_said(wished: int | None, words: str) -> None:
    """Exactly what is not carried out has a reason, so that whoever asks is not left to wait for nothing."""
    subject = leader()
    subject.electorate_changed(electorate(range(5), suspects=[1]), 0.05)
    successor = None if wished is None else id_of(wished)

    obstacle = subject.handover_obstacle(successor)

    assert words in obstacle
    subject.hand_over(successor, 0.06)
    assert bool(obstacle) == (subject.role == "leader")


def test_leader_among_suspects_hands_over_to_nobody() -> None:
    """Each may be dead."""
    subject = leader()
    subject.electorate_changed(electorate(range(5), suspects=[1, 2, 3, 4]), 0.05)

    assert "surely alive" in subject.handover_obstacle(None)


def test_follower_hands_over_nothing() -> None:
    """Only a leader can."""
    assert follower(1, of=0).hand_over(None, 0.05) == []
    assert "not the leader" in follower(1, of=0).handover_obstacle(None)


def test_successor_asks_for_votes_at_once() -> None:
    """With the release no opinion is needed; its own vote fences the old leader."""
    subject = follower(3, of=0)
    paper = release(0, 3)

    effects = subject.handle(Handover(release=paper), id_of(0), 0.05)

    request = VoteRequest(ballot=ballot(2, 3), council=ids(range(5)), release=paper)
    assert told(effects) == [(voter, request) for voter in (0, 1, 2, 4)]
    assert names(effects)[4:] == ["Persist", "RoleChanged", "LeaderChanged"]


@pytest.mark.parametrize("paper", [release(0, 2), release(0, 3, term=9), release(2, 3)])
def test_odd_releases_make_nobody_stand(paper: object) -> None:
    """In favour of another, of another lead, or signed by another."""
    assert follower(3, of=0).handle(Handover(release=paper), id_of(0), 0.05) == []  # type: ignore[arg-type]


def test_handover_comes_from_the_leader_itself() -> None:
    """A repeated release of an earlier handover is worth nothing in another's hands."""
    assert follower(3, of=0).handle(Handover(release=release(0, 3)), id_of(2), 0.05) == []
