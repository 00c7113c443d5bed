"""The candidate: whom it asks, what it counts, when it gives up."""

from typing import Any

import pytest

from protocol.config import LOCAL
from protocol.effects import LeaderChanged, Persist, Report, RoleChanged
from protocol.election import Election
from protocol.election.promises import HEARSAY_RISE_MAX, NO_BALLOT
from protocol.messages import (
    Announce,
    CertificateRequest,
    Message,
    PreVoteReply,
    PreVoteRequest,
    VoteReply,
    VoteRequest,
)
from protocol.statements import Vote
from tests.protocol.election.papers import (
    FIVE,
    ballot,
    certificate,
    follower,
    names,
    newcomer,
    told,
    vote,
    vote_request,
)
from tests.protocol.election.town import electorate, id_of, ids

ON = ballot(1, 0)


def yes(subject: Election, *voters: int) -> list[Any]:
    effects: list[Any] = []
    for voter in voters:
        effects += subject.handle(PreVoteReply(ballot=ON, granted=True, highest=NO_BALLOT), id_of(voter), 0.002)
    return effects


def candidate() -> Election:
    """Peer 0 of five that asks for votes, in term 1."""
    subject = newcomer(0)
    yes(subject, 1, 2)
    assert subject.role == "candidate"
    return subject


def voted(subject: Election, voter: int, paper: Vote | None) -> list[Any]:
    return subject.handle(VoteReply(ballot=ON, highest=ON, vote=paper), id_of(voter), 0.005)


def test_lowest_of_a_new_council_asks_at_once() -> None:
    """Candidate i waits i times the stagger; the first waits for nothing."""
    subject = follower(1, of=0)
    request = PreVoteRequest(ballot=ballot(2, 1), council=ids(range(1, 5)))

    effects = subject.electorate_changed(electorate(range(1, 5)), 0.1)

    assert told(effects) == [(voter, request) for voter in (2, 3, 4)]
    assert effects[-1] == Report(LeaderChanged(None))


@pytest.mark.parametrize(("number", "rank"), [(2, 1), (4, 3)])
def test_others_of_the_council_wait_for_their_turn(number: int, rank: int) -> None:
    """So one candidate stands, not four."""
    subject = follower(number, of=0)

    assert subject.electorate_changed(electorate(range(1, 5)), 0.1) == [Report(LeaderChanged(None))]

    assert subject.next_deadline() == pytest.approx(0.1 + rank * LOCAL.candidate_stagger_s)
    assert names(subject.wake(subject.next_deadline(), 0.0)) == ["PreVoteRequest"] * 3


def test_term_is_spent_only_with_a_majority_of_opinions() -> None:
    """ "Do I myself reach a majority? That comes before anything that could disturb others."""
    subject = newcomer(0)
    assert yes(subject, 1) == []
    assert (subject.role, subject.term) == ("follower", 0)

    effects = yes(subject, 2)

    assert names(effects) == ["VoteRequest"] * 4 + ["Persist", "RoleChanged"]
    assert told(effects)[0][1] == VoteRequest(ballot=ON, council=ids(FIVE))
    assert effects[-1] == Report(RoleChanged("candidate", 1))


def test_majority_of_votes_makes_a_leader_that_everybody_hears_of() -> None:
    """Announced to all members at once, with the proof."""
    subject = candidate()
    assert voted(subject, 1, vote(1, ON, FIVE)) == []

    effects = voted(subject, 2, vote(2, ON, FIVE))

    proof = certificate(0)
    assert told(effects) == [(member, Announce(certificate=proof, followers=5)) for member in (1, 2, 3, 4)]
    assert effects[4:] == [Report(RoleChanged("leader", 1)), Report(LeaderChanged(proof))]
    assert subject.claim is not None and (subject.claim.ballot, subject.claim.followers) == (ON, 5)


def test_lone_peer_elects_itself() -> None:
    """The last peer alive is a network of one; its vote is on disk before it says so."""
    subject = newcomer(3, sees=[3])

    assert subject.role == "leader"
    assert subject.next_deadline() == float("inf")


def test_own_vote_is_on_disk_before_the_certificate_leaves() -> None:
    """Requests may leave before, so that all voters sync at the same time."""
    effects = newcomer(0, sees=[0, 1]).handle(PreVoteReply(ballot=ON, granted=True, highest=NO_BALLOT), id_of(1), 0.002)

    assert [type(effect).__name__ for effect in effects[:2]] == ["Tell", "Persist"]
    assert not any(isinstance(message, Announce) for _, message in told(effects))


@pytest.mark.parametrize(
    "paper",
    [
        vote(4, ON, FIVE),  # another's
        vote(1, ballot(1, 2), FIVE),  # for another candidate
        vote(1, ballot(2, 0), FIVE),  # of another term
        vote(1, ON, range(4)),  # in another council
        Vote(
            author_key=vote(1, ON, FIVE).author_key,
            ballot=ON,
            council_hash=vote(1, ON, FIVE).council_hash,
            voter_boot=1,
        ),
    ],
)
def test_odd_votes_do_not_count(paper: Vote) -> None:
    """Only a voter's own signature under exactly this ballot and council does."""
    subject = candidate()
    voted(subject, 1, paper)
    voted(subject, 2, vote(2, ON, FIVE))

    assert subject.role == "candidate"


def test_vote_from_outside_the_council_does_not_count() -> None:
    """Peer 7 is a member, not a voter."""
    subject = newcomer(0, sees=range(8))
    yes(subject, 1, 2, 3)
    council = range(7)
    for voter in (7, 1, 2):
        voted(subject, voter, vote(voter, ON, council))
    assert subject.role == "candidate"

    voted(subject, 3, vote(3, ON, council))
    assert subject.role == "leader"


def test_requests_are_repeated_ever_less_often_and_only_to_the_missing() -> None:
    """Bounded by the time of the campaign."""
    subject = newcomer(0)
    yes(subject, 1)
    asked: list[tuple[int, Message]] = []
    times = []
    while subject.next_deadline() < LOCAL.vote_timeout_s - 0.001:
        times.append(subject.next_deadline())
        asked += told(subject.wake(times[-1], 0.0))

    assert {receiver for receiver, _ in asked} == {2, 3, 4}
    assert times == pytest.approx([0.01, 0.03, 0.07])


def test_candidate_without_a_majority_gives_up_and_tries_later() -> None:
    """Nothing was spent; the pause is random."""
    subject = newcomer(0)
    while subject.next_deadline() <= LOCAL.vote_timeout_s:
        subject.wake(subject.next_deadline(), 0.0)

    assert subject.term == 0
    assert LOCAL.vote_timeout_s < subject.next_deadline() <= 5 * LOCAL.vote_timeout_s
    assert names(subject.wake(subject.next_deadline(), 0.0)) == ["PreVoteRequest"] * 4


def test_lost_vote_ends_the_campaign_at_once() -> None:
    """Three of five refused: the next attempt runs in a higher term."""
    subject = candidate()
    for voter in (1, 2, 3):
        subject.handle(VoteReply(ballot=ON, highest=ballot(3, 4)), id_of(voter), 0.005)
    assert subject.role == "follower"

    effects = subject.wake(subject.next_deadline(), 0.0)

    assert told(effects)[0][1] == PreVoteRequest(ballot=ballot(4, 0), council=ids(FIVE))


def test_candidate_that_is_behind_moves_on_at_once() -> None:
    """A refusal tells how far the voter is; perhaps it also follows somebody."""
    effects = newcomer(0).handle(PreVoteReply(ballot=ON, granted=False, highest=ballot(6, 3)), id_of(1), 0.002)

    assert told(effects)[:4] == [
        (voter, PreVoteRequest(ballot=ballot(7, 0), council=ids(FIVE))) for voter in (1, 2, 3, 4)
    ]
    assert told(effects)[4:] == [(1, CertificateRequest(ballot=ballot(6, 3)))]


def test_lying_voter_moves_the_term_by_a_bounded_step() -> None:
    """A hostile answer of term 2^62 raises an alarm and costs at most the step of hearsay."""
    subject = newcomer(0)
    lie = PreVoteReply(ballot=ON, granted=False, highest=ballot(2**62, 3))

    effects = subject.handle(lie, id_of(3), 0.002)

    assert names(effects)[0] == "Alarm"
    requests = [message for _, message in told(effects) if isinstance(message, PreVoteRequest)]
    assert {request.ballot.term for request in requests} == {1 + HEARSAY_RISE_MAX}
    assert subject.term == 0


def test_view_that_changed_starts_the_questions_again() -> None:
    """Opinions belong to a council."""
    subject = newcomer(0)
    yes(subject, 1)

    effects = subject.electorate_changed(electorate([0, 1, 2, 3]), 0.003)

    assert told(effects) == [(voter, PreVoteRequest(ballot=ON, council=ids(range(4)))) for voter in (1, 2, 3)]


def test_candidate_follows_whoever_won_before() -> None:
    """A certificate that holds ends every campaign."""
    subject = candidate()
    proof = certificate(1, term=2)

    effects = subject.handle(Announce(certificate=proof, followers=5), id_of(1), 0.01)

    assert effects == [
        Report(RoleChanged("follower", 2)),
        Report(LeaderChanged(proof)),
        Persist(effects[-1].promise),  # type: ignore[union-attr]
    ]


def test_candidate_that_votes_for_another_does_not_win_its_own_term_any_more() -> None:
    """It would lead below its own promise: swizzle, 20 peers, seed 53."""
    subject = candidate()
    given = subject.handle(vote_request(3, term=2), id_of(3), 0.003)
    assert any(isinstance(message, VoteReply) and message.vote for _, message in told(given))

    for voter in (1, 2):
        voted(subject, voter, vote(voter, ON, FIVE))

    assert subject.role == "follower" and subject.leader is None
    subject.check_invariants()
    assert subject.next_deadline() < 10, "it tries again, should the other not win"


def test_voter_with_a_lost_promise_only_asks() -> None:
    """It neither votes nor leads before a majority of the others told it their terms (DESIGN section 10)."""
    subject = newcomer(0, may_vote=False)
    told_highest = ballot(5, 3)
    effects: list[Any] = []
    for voter in (1, 2):
        reply = PreVoteReply(ballot=ballot(6, 0), granted=False, highest=told_highest)
        effects += subject.handle(reply, id_of(voter), 0.002)
        assert "Persist" not in names(effects)

    effects = subject.handle(PreVoteReply(ballot=ballot(6, 0), granted=False, highest=told_highest), id_of(3), 0.003)

    assert names(effects)[0] == "Persist"
    assert effects[0].promise.voted.term >= 5  # type: ignore[union-attr]
