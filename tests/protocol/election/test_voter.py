"""Whom a voter would vote and votes for: state, one request, the exact effects."""

import pytest

from protocol.config import LOCAL
from protocol.effects import LeaderChanged, Persist, Promise, Report, RoleChanged, Tell
from protocol.election import Election
from protocol.election.promises import HEARSAY_RISE_MAX, NO_BALLOT
from protocol.messages import Announce, Heartbeat, PreVoteReply, PreVoteRequest, VoteReply, VoteRequest
from protocol.statements import council_hash
from tests.protocol.election.papers import (
    ballot,
    certificate,
    follower,
    leader,
    names,
    newcomer,
    pre_vote_request,
    release,
    told,
    vote,
    vote_request,
)
from tests.protocol.election.town import electorate, id_of, ids

SILENT_S = LOCAL.election_timeout_s


def granted(subject: Election, request: PreVoteRequest, candidate: int, now: float) -> bool:
    replies = [message for _, message in told(subject.handle(request, id_of(candidate), now))]
    assert len(replies) == 1 and isinstance(replies[0], PreVoteReply)
    return replies[0].granted


def test_opinion_changes_nothing() -> None:
    """Pre-vote disturbs nobody (Raft 2014 thesis, section 9.6): no promise, no new role, no event."""
    subject = newcomer(1)

    effects = subject.handle(pre_vote_request(0), id_of(0), 0.001)

    assert effects == [Tell(id_of(0), PreVoteReply(ballot=ballot(2, 0), granted=True, highest=NO_BALLOT))]
    assert (subject.term, subject.role, subject.leader) == (0, "follower", None)


def test_vote_is_persisted_before_it_is_sent() -> None:
    """A granted vote survives a crash (Raft 2014, section 5.2)."""
    subject, on = newcomer(1), ballot(2, 0)

    effects = subject.handle(vote_request(0), id_of(0), 0.001)

    promise = Promise(voted=on, council_hash=council_hash(ids(range(5))), highest=NO_BALLOT)
    paper = vote(1, on, range(5))
    assert effects == [Persist(promise), Tell(id_of(0), VoteReply(ballot=on, highest=on, vote=paper))]


def test_same_vote_is_given_again_without_another_write() -> None:
    """The first reply may be lost; the promise is on disk already."""
    subject = newcomer(1)
    first = subject.handle(vote_request(0), id_of(0), 0.001)

    assert subject.handle(vote_request(0), id_of(0), 0.002) == first[1:]


def test_second_candidate_of_a_term_gets_no_vote_after_a_restart() -> None:
    """The promise on disk binds every later boot."""
    before = newcomer(1)
    persisted = before.handle(vote_request(0), id_of(0), 0.001)[0]
    assert isinstance(persisted, Persist)

    again = newcomer(1, promise=persisted.promise)
    effects = again.handle(vote_request(2), id_of(2), 0.001)

    assert effects == [Tell(id_of(2), VoteReply(ballot=ballot(2, 2), highest=ballot(2, 0)))]


def test_second_council_of_one_candidate_gets_no_vote() -> None:
    """A candidate whose view changed has to spend another term."""
    subject = newcomer(1)
    subject.handle(vote_request(0), id_of(0), 0.001)

    assert names(subject.handle(vote_request(0, council=range(4)), id_of(0), 0.002)) == ["VoteReply"]
    assert subject.handle(vote_request(0, council=range(4)), id_of(0), 0.002)[0].message.vote is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("request_", "sender"),
    [
        (pre_vote_request(2), 3),  # in another's name
        (pre_vote_request(0, council=[0, 2, 3, 4]), 0),  # a council without this voter
        (pre_vote_request(0, council=[0, 1, 7, 8, 9]), 0),  # a council that shares no majority with the own view
        (pre_vote_request(9, council=[1, 2, 3, 4, 9]), 9),  # a candidate that does not live here
        (pre_vote_request(0, term=2**62), 0),
    ],
)
def test_odd_requests_get_no_yes(request_: PreVoteRequest, sender: int) -> None:
    """Each answer tells the highest ballot, and nothing else."""
    assert not granted(newcomer(1), request_, sender, 0.001)


def test_peer_that_is_not_ready_gives_no_vote() -> None:
    """Before its table is quiet a newcomer neither stands nor votes."""
    subject = newcomer(1)
    subject.electorate_changed(electorate(range(5), ready=False), 0.0)

    assert told(subject.handle(vote_request(0), id_of(0), 0.001))[0][1] == VoteReply(
        ballot=ballot(2, 0), highest=NO_BALLOT
    )


def test_voter_clings_to_a_living_leader() -> None:
    """Leader stickiness (Raft 2014 thesis, section 4.2.3)."""
    subject = follower(1, of=0)

    assert not granted(subject, pre_vote_request(2), 2, 0.1)


def test_leader_with_a_lease_clings_to_itself() -> None:
    """It refuses to be replaced but by a merge."""
    subject = leader()

    assert not granted(subject, pre_vote_request(2), 2, 0.1)
    assert names(subject.handle(vote_request(2), id_of(2), 0.1)) == ["VoteReply"]
    assert subject.role == "leader"


@pytest.mark.parametrize(("after_s", "expected"), [(SILENT_S - 0.01, False), (SILENT_S + 0.01, True)])
def test_voter_gives_up_a_leader_whose_heartbeats_stopped(after_s: float, expected: bool) -> None:
    """Silence counts from the last heartbeat."""
    subject = follower(1, of=0)
    subject.handle(Heartbeat(ballot=ballot(1, 0), sequence=1, followers=5), id_of(0), 0.2)

    assert granted(subject, pre_vote_request(2), 2, 0.2 + after_s) is expected


def test_leader_that_stands_again_itself_is_not_clung_to() -> None:
    """It restarted, or its lease lapsed: it knows best that it leads no more."""
    assert granted(follower(1, of=0), pre_vote_request(0), 0, 0.1)


def test_merge_gets_a_yes_in_spite_of_a_living_leader() -> None:
    """Two sides are to be united."""
    assert granted(follower(1, of=0), pre_vote_request(2, is_merge=True), 2, 0.1)


@pytest.mark.parametrize(("rise", "expected"), [(HEARSAY_RISE_MAX, True), (HEARSAY_RISE_MAX + 1, False)])
def test_living_leader_is_left_only_for_a_term_that_others_reach(rise: int, expected: bool) -> None:
    """A hostile candidate would otherwise take single voters so far up that they follow nobody for a minute."""
    request = pre_vote_request(2, term=1 + rise, is_merge=True)
    assert granted(follower(1, of=0), request, 2, 0.1) is expected


def test_voter_leaves_a_living_leader_once_per_pause() -> None:
    """Whatever cuts and bridges do, there is at most one such change in ``change_pause_s``."""
    subject = follower(1, of=0)
    effects = subject.handle(vote_request(2, is_merge=True), id_of(2), 0.1)
    assert names(effects) == ["Persist", "VoteReply", "LeaderChanged"]
    subject.handle(Announce(certificate=certificate(2, term=2), followers=5), id_of(2), 0.11)
    assert subject.leader == id_of(2)

    assert not granted(subject, pre_vote_request(3, term=3, is_merge=True), 3, 0.2)
    later = 0.1 + LOCAL.change_pause_s
    subject.handle(Heartbeat(ballot=ballot(2, 2), sequence=1, followers=5), id_of(2), later)
    assert granted(subject, pre_vote_request(3, term=3, is_merge=True), 3, later + 0.02)


def test_vote_for_another_ends_the_own_lead_first() -> None:
    """The losing side's leader steps down before its vote leaves: no two leases in one council."""
    subject = leader()

    effects = subject.handle(vote_request(2, is_merge=True), id_of(2), 0.1)

    assert names(effects) == ["Persist", "VoteReply", "RoleChanged", "LeaderChanged"]
    assert effects[2:] == [Report(RoleChanged("follower", 2)), Report(LeaderChanged(None))]


@pytest.mark.parametrize(
    ("paper", "is_given"),
    [
        (release(0, 2), True),
        (release(0, 3), False),  # in favour of another
        (release(0, 2, term=2), False),  # of another lead
        (release(3, 2), False),  # not the leader's
        (None, False),
    ],
)
def test_release_of_the_leader_opens_the_vote_at_once(paper: object, is_given: bool) -> None:
    """Planned handover; only the followed leader's own signature counts."""
    subject = follower(1, of=0)
    request = VoteRequest(ballot=ballot(2, 2), council=ids(range(5)), release=paper)  # type: ignore[arg-type]

    replies = [message for _, message in told(subject.handle(request, id_of(2), 0.1))]

    assert isinstance(replies[0], VoteReply)
    assert (replies[0].vote is not None) is is_given


def test_early_question_is_answered_by_the_verdict() -> None:
    """Peers learn of a death some milliseconds apart: nobody waits for a repetition."""
    subject = follower(2, of=0)
    assert not granted(subject, pre_vote_request(1, council=range(1, 5)), 1, 0.1)

    effects = subject.electorate_changed(electorate(range(1, 5)), 0.103)

    assert effects == [
        Tell(id_of(1), PreVoteReply(ballot=ballot(2, 1), granted=True, highest=ballot(1, 0))),
        Report(LeaderChanged(None)),
    ]


def test_early_question_is_answered_when_the_leader_counts_as_silent() -> None:
    """The voter's own patience ends between two repetitions of the candidate."""
    subject = follower(2, of=0)
    assert not granted(subject, pre_vote_request(1), 1, SILENT_S - 0.05)

    assert subject.next_deadline() == pytest.approx(SILENT_S)
    effects = subject.wake(subject.next_deadline(), 0.0)

    assert (1, PreVoteReply(ballot=ballot(2, 1), granted=True, highest=ballot(1, 0))) in told(effects)


def test_lower_id_is_favoured_so_that_votes_are_not_split() -> None:
    """The first yes stands for a moment against higher ids only."""
    subject = newcomer(4)
    assert granted(subject, pre_vote_request(2), 2, 0.001)

    assert not granted(subject, pre_vote_request(3), 3, 0.002)
    assert granted(subject, pre_vote_request(1), 1, 0.003)
    assert granted(subject, pre_vote_request(3), 3, 0.2)
