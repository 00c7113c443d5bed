"""Which certificates a follower believes, and what it does about other leaders."""

from collections.abc import Iterable

import pytest

from protocol.config import LOCAL
from protocol.effects import LeaderChanged, Persist, Promise, Report, Tell
from protocol.election.promises import NO_BALLOT, NO_COUNCIL_HASH
from protocol.limits import TERM_JUMP_MAX
from protocol.messages import Announce, CertificateRequest, Heartbeat, HeartbeatAck, LeaderClaim, VoteReply
from protocol.statements import Certificate
from tests.protocol.election.papers import ballot, certificate, follower, leader, names, newcomer, told, vote_request
from tests.protocol.election.town import electorate, id_of, ids

HUGE = 2**62


def announce(paper: Certificate, followers: int = 5) -> Announce:
    return Announce(certificate=paper, followers=followers)


def test_certificate_is_followed_reported_and_stored() -> None:
    """The fence is on disk before anything else leaves; who did not vote in that term has to write it."""
    subject, proof = newcomer(4), certificate(0)

    effects = subject.handle(announce(proof), id_of(0), 0.01)

    fence = Promise(voted=NO_BALLOT, council_hash=NO_COUNCIL_HASH, highest=ballot(1, 0))
    assert effects == [Report(LeaderChanged(proof)), Persist(fence)]
    assert (subject.leader, subject.term, subject.followed_since) == (id_of(0), 1, 0.01)


def test_claim_is_the_same_object_while_it_says_the_same() -> None:
    """The core compares with ``is``: a heartbeat must not look like news."""
    subject = follower(1, of=0)
    claim = subject.claim
    subject.handle(Heartbeat(ballot=ballot(1, 0), sequence=1, followers=5), id_of(0), 0.1)
    subject.handle(announce(certificate(0)), id_of(0), 0.1)
    assert subject.claim is claim

    subject.handle(Heartbeat(ballot=ballot(1, 0), sequence=2, followers=4), id_of(0), 0.2)
    assert subject.claim is not None and subject.claim.followers == 4


def forged(council: Iterable[int] = range(5)) -> Certificate:
    """Return a certificate whose votes were cast for another term."""
    other = certificate(0, term=3, council=council)
    return Certificate(ballot=ballot(4, 0), council=other.council, votes=other.votes)


@pytest.mark.parametrize(
    "paper",
    [
        forged(),
        certificate(2, term=2, council=range(5), signers=[0, 1]),  # a minority
        certificate(2, term=2, council=range(5), signers=[0, 1, 7]),  # a signer from outside
        certificate(2, term=2, council=[2, 7, 8, 9]),  # valid, but its signers are strangers here
        certificate(8, term=2, council=range(5)),  # its leader does not live here
        certificate(1, term=1, council=range(5)),  # below the followed ballot
        certificate(2, term=2 + TERM_JUMP_MAX, council=range(5)),
    ],
)
def test_certificate_that_proves_nothing_here_is_not_followed(paper: Certificate) -> None:
    """Forged, held by no majority of this view, below the floor, or a jump of the term."""
    subject = follower(4, of=2)
    effects = subject.handle(announce(paper), id_of(3), 0.1)

    assert subject.leader == id_of(2)
    assert not {"LeaderChanged", "Persist"} & set(names(effects))


def test_newcomer_that_met_only_liars_follows_the_others_once_it_meets_them() -> None:
    """Whoever knows no term accepts any; it signs nothing for it, and lets go when it does not hold among the others.

    Here two peer ids of one hostile member, 8 and 9, tell a newcomer of a huge term; then it meets the network.
    """
    subject = newcomer(1, sees=[1, 8, 9])
    subject.handle(announce(certificate(8, term=HUGE, council=[1, 8, 9], signers=[8, 9]), 3), id_of(8), 0.01)
    assert subject.leader == id_of(8)
    asked = vote_request(9, term=HUGE + 1, council=[1, 8, 9], is_merge=True)
    assert [reply.vote for _, reply in told(subject.handle(asked, id_of(9), 0.02)) if isinstance(reply, VoteReply)] == [
        None
    ]

    effects = subject.electorate_changed(electorate([0, 1, 2, 3, 4, 8, 9]), 0.1)
    assert names(effects)[-1] == "LeaderChanged" and subject.leader is None
    subject.handle(announce(certificate(0, council=range(5))), id_of(0), 0.11)
    assert (subject.leader, subject.term) == (None, 0)

    subject.electorate_changed(electorate(range(5)), 0.2)
    subject.handle(announce(certificate(0)), id_of(0), 0.21)
    assert (subject.leader, subject.term) == (id_of(0), 1)
    subject.check_invariants()


def test_old_network_is_joined_on_trust() -> None:
    """A certificate that holds in each view is followed on."""
    subject = newcomer(4)
    effects = subject.handle(announce(certificate(0, term=HUGE, signers=range(4))), id_of(0), 0.01)
    assert names(effects) == ["LeaderChanged"]

    subject.electorate_changed(electorate(range(6)), 0.1)
    assert (subject.leader, subject.term) == (id_of(0), HUGE)


def test_stored_floor_outlives_a_restart() -> None:
    """A replayed certificate of an earlier leader is not followed by a later boot."""
    floor = Promise(voted=NO_BALLOT, council_hash=NO_COUNCIL_HASH, highest=ballot(5, 1))
    subject = newcomer(4, promise=floor)

    subject.handle(announce(certificate(0, term=4)), id_of(0), 0.01)
    assert subject.leader is None

    subject.handle(announce(certificate(1, term=5)), id_of(1), 0.01)
    assert subject.leader == id_of(1)


def test_certificate_that_came_before_the_verdict_is_followed_with_it() -> None:
    """Tables change within milliseconds of each other; nobody asks again."""
    subject = follower(9, of=0, sees=range(10), signers=[0, 1, 2, 3])
    proof = certificate(4, term=2, council=range(2, 9), signers=[4, 6, 7, 8])
    subject.handle(announce(proof), id_of(4), 0.1)
    assert subject.leader == id_of(0)

    effects = subject.electorate_changed(electorate(range(2, 10)), 0.102)

    assert names(effects) == ["LeaderChanged", "Persist"]
    assert subject.leader == id_of(4)


def test_heartbeat_of_the_leader_is_acknowledged() -> None:
    """And restarts the patience."""
    subject = follower(1, of=0)

    effects = subject.handle(Heartbeat(ballot=ballot(1, 0), sequence=7, followers=5), id_of(0), 0.2)

    assert effects == [Tell(id_of(0), HeartbeatAck(ballot=ballot(1, 0), sequence=7, highest=ballot(1, 0)))]
    assert subject.next_deadline() >= 0.2 + LOCAL.election_timeout_s


def test_heartbeat_of_an_unproved_leader_is_not_acknowledged() -> None:
    """An ack carries a lease: the certificate comes first."""
    effects = newcomer(1).handle(Heartbeat(ballot=ballot(1, 0), sequence=7, followers=5), id_of(0), 0.001)

    assert effects == [Tell(id_of(0), CertificateRequest(ballot=ballot(1, 0)))]


def test_heartbeat_of_a_deposed_leader_is_answered_with_proof() -> None:
    """A leader that was stopped learns in one trip that it was replaced."""
    subject = follower(1, of=2, term=3)

    effects = subject.handle(Heartbeat(ballot=ballot(1, 0), sequence=7, followers=5), id_of(0), 0.1)

    proof = certificate(2, term=3)
    nack = HeartbeatAck(ballot=ballot(1, 0), sequence=7, highest=ballot(3, 2))
    assert effects == [Tell(id_of(0), announce(proof)), Tell(id_of(0), nack)]


def test_council_member_stands_when_heartbeats_stop_and_follows_on_until_it_has_a_majority() -> None:
    """Pre-vote: one deaf follower deposes nobody."""
    subject = follower(1, of=0)
    at = subject.next_deadline()
    assert LOCAL.election_timeout_s <= at < 2 * LOCAL.election_timeout_s

    effects = subject.wake(at, 0.0)

    assert names(effects) == ["PreVoteRequest"] * 4
    assert (subject.leader, subject.role) == (id_of(0), "follower")


def test_heartbeat_ends_the_doubt() -> None:
    """An attempt that spent no term is dropped when the leader speaks again."""
    subject = follower(1, of=0)
    at = subject.next_deadline()
    subject.wake(at, 0.0)

    subject.handle(Heartbeat(ballot=ballot(1, 0), sequence=9, followers=5), id_of(0), at + 0.005)

    assert subject.next_deadline() >= at + LOCAL.election_timeout_s


def test_peer_that_did_not_run_does_not_blame_its_leader() -> None:
    """The silence was its own: it neither stands nor gives its vote away."""
    subject = follower(1, of=0)

    assert subject.wake(5.0, late_by=5.0 - subject.next_deadline()) == []

    assert subject.next_deadline() >= 5.0 + LOCAL.election_timeout_s


def test_lost_leader_is_reported_and_peers_outside_the_council_wait_for_the_next() -> None:
    """After a while they ask around instead of standing."""
    subject = follower(9, of=0, sees=range(10))

    assert subject.electorate_changed(electorate(range(1, 10)), 0.1) == [Report(LeaderChanged(None))]

    assert subject.next_deadline() > 0.1 + LOCAL.vote_timeout_s / 2
    asked = told(subject.wake(subject.next_deadline(), 0.0))
    assert [message for _, message in asked] == [CertificateRequest(ballot=ballot(1, 0))]
    assert asked[0][0] in range(1, 8)


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        (ballot(3, 2), [Tell(id_of(4), CertificateRequest(ballot=ballot(3, 2)))]),
        (ballot(1, 0), [Tell(id_of(4), announce(certificate(2, term=2)))]),
        (ballot(2, 2), []),  # the same
        (ballot(3, 9), []),  # of a leader that does not live here
        (ballot(3, 1), []),  # of this peer, which leads no more
    ],
)
def test_claims_are_answered_with_a_question_or_with_proof(claim: object, expected: list[Tell]) -> None:
    """A higher leader must prove itself; the follower of a lower one is shown ours."""
    subject = follower(1, of=2, term=2)

    assert subject.claim_seen(LeaderClaim(claim, 5), id_of(4), 0.1) == expected  # type: ignore[arg-type]


def test_claims_of_huge_terms_raise_one_alarm_per_second() -> None:
    """A hostile member claims term 2^62: refused, and bounded."""
    subject = follower(1, of=2, term=2)
    claim = LeaderClaim(ballot(2**62, 3), 5)

    found = [name for tenth in range(20) for name in names(subject.claim_seen(claim, id_of(3), 0.1 + tenth / 10))]

    assert found == ["Alarm", "Alarm"]
    assert subject.leader == id_of(2)


def test_questions_and_proofs_are_bounded() -> None:
    """Whatever a flood of claims and requests asks for."""
    subject = follower(1, of=2, term=2)
    asked = [
        effect
        for term in range(3, 500)
        for effect in subject.claim_seen(LeaderClaim(ballot(term, 3), 5), id_of(3), 0.1)
    ]
    shown = [
        effect for _ in range(500) for effect in subject.handle(CertificateRequest(ballot=ballot(2, 2)), id_of(3), 0.1)
    ]

    assert 0 < len(asked) <= 50 and 0 < len(shown) <= 50


def test_peer_that_promised_more_protests_to_a_leader_it_cannot_follow() -> None:
    """Its floor is above: the leader has to be elected again (and will)."""
    promise = Promise(voted=ballot(5, 3), council_hash=bytes(16), highest=NO_BALLOT)
    subject = newcomer(1, promise=promise)

    effects = subject.claim_seen(LeaderClaim(ballot(4, 0), 5), id_of(2), 0.001)

    assert effects == [Tell(id_of(0), HeartbeatAck(ballot=ballot(4, 0), sequence=0, highest=ballot(5, 3)))]


def test_follower_tells_its_leader_of_another_side() -> None:
    """A certificate that is authentic and higher, but does not hold in this view."""
    subject = follower(3, of=2, term=1, sees=range(6))
    foreign = announce(certificate(5, term=4, council=[4, 5]), followers=2)

    assert subject.handle(foreign, id_of(4), 0.1) == [Tell(id_of(2), foreign)]


def test_own_certificate_is_never_followed() -> None:
    """A leader that lapsed or restarted is not made leader by those who still believe in it."""
    subject = newcomer(0)

    assert subject.handle(announce(certificate(0, term=4)), id_of(3), 0.001) == []
    assert leader().leader == ids([0])[0]
