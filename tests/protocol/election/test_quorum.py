"""The rules of the *quorum* mode one by one: whose voice is free when, which list of voters counts."""

import math
from typing import Any

import pytest

from protocol.config import LOCAL, PROFILES
from protocol.effects import KeepVoters, Persist, Promise
from protocol.election import Election
from protocol.election.promises import NO_BALLOT, NO_COUNCIL_HASH
from protocol.election.quorum import CLOCK_RATE_MAX, CLOCK_RATE_MIN, QuorumRules, promise_s
from protocol.identity import Identity
from protocol.messages import Announce, Handover, Heartbeat, HeartbeatAck, LeaseEnded, VoteReply, VotersKnown
from protocol.statements import Readmission, VoterList
from tests.protocol.election.papers import (
    ballot,
    certificate,
    names,
    pre_vote_request,
    release,
    told,
    vote_request,
)
from tests.protocol.election.town import electorate, id_of, ids, machine, quorum_rules
from tests.protocol.samples import voter_list

VOTERS = ids(range(3))
LIST = voter_list(voters=VOTERS)
PROMISE_S = promise_s(LOCAL.lease_s)


def rules(*, voters: VoterList = LIST) -> QuorumRules:
    return quorum_rules(voters=[voters])


def peer(number: int, *, voters: VoterList = LIST, **arguments: Any) -> Election:
    """Return a peer of five, started at time 0, that sees all others."""
    subject = machine(number, rules=rules(voters=voters), **arguments)
    subject.electorate_changed(electorate(range(5)), 0.0)
    return subject


def is_voted_for(subject: Election, request: Any, candidate: int, now: float) -> bool:
    replies = [message for _, message in told(subject.handle(request, id_of(candidate), now))]
    return any(isinstance(reply, VoteReply) and reply.vote is not None for reply in replies)


@pytest.mark.parametrize("profile", PROFILES.values())
def test_a_promise_outlives_any_lease_that_it_carries(profile: Any) -> None:
    """A leader's clock at its slowest against a voter's at its fastest; and silence is noticed after the promise."""
    assert profile.lease_s / CLOCK_RATE_MIN < promise_s(profile.lease_s) / CLOCK_RATE_MAX
    assert promise_s(profile.lease_s) < profile.election_timeout_s


def test_council_is_the_list_whoever_is_alive() -> None:
    """Never inferred from what a peer happens to see."""
    subject = rules()

    assert subject.council_of(ids([0, 4])) == subject.council_of(()) == VOTERS


@pytest.mark.parametrize(("after_s", "expected"), [(PROMISE_S - 0.001, False), (PROMISE_S, True)])
def test_voter_grants_nothing_for_one_promise_after_each_start(after_s: float, expected: bool) -> None:
    """Whatever an earlier boot promised is over by then."""
    assert is_voted_for(peer(1), vote_request(0, council=range(3)), 0, after_s) is expected


def test_voter_does_not_carry_a_leader_in_its_first_promise_either() -> None:
    """It follows, but its acks would be grants."""
    subject = peer(1)
    subject.handle(Announce(certificate=certificate(0, council=range(3)), followers=5), id_of(0), 0.01)
    assert subject.leader == id_of(0)

    beat = Heartbeat(ballot=ballot(1, 0), sequence=1, followers=5)
    assert told(subject.handle(beat, id_of(0), 0.02)) == []
    assert [type(message) for _, message in told(subject.handle(beat, id_of(0), PROMISE_S))] == [HeartbeatAck]


@pytest.mark.parametrize(("after_s", "expected"), [(PROMISE_S - 0.001, False), (PROMISE_S, True)])
def test_dead_leader_keeps_the_voice_until_its_promise_ends(after_s: float, expected: bool) -> None:
    """A peer that seems dead may only be out of reach: the membership shortens no promise."""
    subject = peer(1)
    start = 1.0
    assert is_voted_for(subject, vote_request(0, council=range(3)), 0, start)
    subject.electorate_changed(electorate([1, 2, 3, 4]), start + 0.01)

    request = vote_request(2, term=3, council=range(3))
    assert is_voted_for(subject, request, 2, start + after_s) is expected


def test_heartbeats_prolong_the_promise() -> None:
    """An ack is as good as a vote."""
    subject = peer(1)
    subject.handle(vote_request(0, term=1, council=range(3)), id_of(0), 1.0)
    subject.handle(Announce(certificate=certificate(0, council=range(3)), followers=5), id_of(0), 1.01)
    subject.handle(Heartbeat(ballot=ballot(1, 0), sequence=1, followers=5), id_of(0), 1.2)
    subject.electorate_changed(electorate([1, 2, 3, 4]), 1.21)

    request = vote_request(2, term=2, council=range(3))
    assert not is_voted_for(subject, request, 2, 1.2 + PROMISE_S - 0.001)
    assert is_voted_for(subject, request, 2, 1.2 + PROMISE_S)


@pytest.mark.parametrize(
    ("paper", "is_given"),
    [
        (release(0, 2), True),
        (release(0, 1), False),  # in favour of another
        (release(3, 2), False),  # not the holder's
        (None, False),
    ],
)
def test_only_a_release_of_the_holder_shortens_a_promise(paper: Any, is_given: bool) -> None:
    """Planned handover waits for nothing."""
    subject = peer(1)
    subject.handle(vote_request(0, term=1, council=range(3)), id_of(0), 1.0)
    subject.handle(Announce(certificate=certificate(0, council=range(3)), followers=5), id_of(0), 1.01)

    assert is_voted_for(subject, vote_request(2, council=range(3), release=paper), 2, 1.02) is is_given


def test_release_of_an_earlier_lead_frees_nothing() -> None:
    """The holder was elected again since."""
    subject = rules()
    subject.grant(ballot(3, 0), now=1.0)

    assert not subject.may_grant(ballot(4, 2), release=release(0, 2, term=1), now=1.01)
    assert subject.may_grant(ballot(4, 2), release=release(0, 2, term=3), now=1.01)
    assert subject.free_at(id_of(0)) == -math.inf


def test_only_voters_stand_and_are_voted_for() -> None:
    """A peer outside the list follows; nobody elects it, and no handover reaches it."""
    outsider = peer(4)
    while outsider.next_deadline() < 3.0:
        assert not {"PreVoteRequest", "VoteRequest"} & {*names(outsider.wake(outsider.next_deadline(), 0.0))}
    outsider.handle(Announce(certificate=certificate(0, council=range(3)), followers=5), id_of(0), 3.0)
    assert outsider.leader == id_of(0)

    assert not {"VoteRequest"} & {*names(outsider.handle(Handover(release=release(0, 4)), id_of(0), 3.1))}
    assert not is_voted_for(peer(1), vote_request(4, council=range(3)), 4, 1.0)


@pytest.mark.parametrize(
    "paper",
    [
        certificate(0, council=range(5)),  # of what a peer happens to see
        certificate(0, council=[0, 1]),  # of an older or forged list
        certificate(4, council=range(3)),  # of one who is no voter
    ],
)
def test_certificate_of_another_council_is_not_followed(paper: Any) -> None:
    """A majority of the known list, or no leader; the sender is told which list that is."""
    subject = peer(3)
    sender = 0

    effects = subject.handle(Announce(certificate=paper, followers=5), id_of(sender), 1.0)

    assert subject.leader is None
    if paper.council != VOTERS:
        assert (sender, VotersKnown(voters=LIST)) in told(effects)


def test_leader_that_ends_openly_is_followed_no_more() -> None:
    """Nobody else would end it: its followers get no heartbeats."""
    subject = peer(4)
    subject.handle(Announce(certificate=certificate(0, council=range(3)), followers=5), id_of(0), 1.0)
    subject.handle(LeaseEnded(ballot=ballot(1, 0)), id_of(2), 1.1)
    assert subject.leader == id_of(0)

    subject.handle(LeaseEnded(ballot=ballot(1, 0)), id_of(0), 1.2)

    assert subject.leader is None


def test_leader_whose_own_word_names_no_leader_is_followed_no_more() -> None:
    """The message that its lease ended may be lost."""
    subject = peer(4)
    subject.handle(Announce(certificate=certificate(0, council=range(3)), followers=5), id_of(0), 1.0)

    subject.claim_missed(1.1)

    assert subject.leader is None


# The list of voters


NEXT = voter_list(voters=ids(range(4)), version=2)


@pytest.mark.parametrize(
    ("paper", "news"),
    [
        (LIST, "known"),
        (NEXT, "adopted"),
        (voter_list(voters=ids([1, 2]), version=2), "adopted"),
        (voter_list(voters=ids([1, 2, 3]), version=3), "adopted"),  # one left, one came
        (voter_list(voters=ids([1, 2, 3]), version=2), "refused"),  # two changes in one version
        (voter_list(voters=ids([0, 1, 4])), "refused"),  # the same version, other voters
        (voter_list(voters=VOTERS, version=2, lease_ms=300), "refused"),  # promises would be too short
        (voter_list(voters=VOTERS, version=2, admin=Identity(bytes(32))), "ignored"),
        (voter_list(voters=VOTERS, version=2, network_id=b"n" * 32), "ignored"),  # type: ignore[arg-type]
    ],
)
def test_newer_list_of_the_admin_counts_when_it_changes_one_voter_at_a_time(paper: VoterList, news: str) -> None:
    """Majorities of lists that follow each other have a voter in common."""
    assert rules().learn(paper) == news


def test_older_list_is_answered_with_the_newer() -> None:
    """The highest valid version wins."""
    subject = peer(1, voters=NEXT)

    assert told(subject.handle(VotersKnown(voters=LIST), id_of(2), 1.0)) == [(2, VotersKnown(voters=NEXT))]
    assert subject.council == ids(range(4))


def test_newcomer_learns_the_list_and_keeps_it() -> None:
    """It knows no council before; what it learns reaches the disk, and the other voters hear of it."""
    subject = machine(4, rules=quorum_rules(voters=[]))
    subject.electorate_changed(electorate(range(5)), 0.0)
    assert subject.council == ()
    asked = subject.handle(Announce(certificate=certificate(0, council=range(3)), followers=5), id_of(0), 1.0)
    assert (0, VotersKnown()) in told(asked)
    assert told(peer(0).handle(VotersKnown(), id_of(4), 1.0)) == [(4, VotersKnown(voters=LIST))]

    effects = subject.handle(VotersKnown(voters=LIST), id_of(0), 1.01)

    assert KeepVoters(LIST) in effects
    assert subject.council == VOTERS and subject.leader == id_of(0)  # the certificate holds from now on


def test_contradicting_lists_of_one_version_raise_an_alarm_on_both_sides() -> None:
    """The admin signed twice: neither side follows the other, and people hear of it; the answers end by themselves."""
    other = voter_list(voters=ids([0, 1, 4]))
    left, right = peer(1), peer(4, voters=other)

    effects = left.handle(VotersKnown(voters=other), id_of(4), 1.0)
    answer = right.handle(VotersKnown(voters=LIST), id_of(1), 1.0)
    again = left.handle(VotersKnown(voters=other), id_of(4), 1.001)

    assert names(effects) == ["Alarm", "VotersKnown"] and names(answer) == ["Alarm", "VotersKnown"] and again == []


# A promise that was lost


def lost(number: int = 1, *, voters: VoterList = LIST, boot: int = 7) -> Election:
    """Return a voter whose vote file was found damaged in ``boot``."""
    return peer(number, voters=voters, may_vote=False, boot=boot)


def test_voter_that_lost_its_promise_says_so_on_disk_and_votes_no_more() -> None:
    """Neither a certificate nor the terms of others, nor another start, end its silence."""
    subject = machine(1, rules=rules(), may_vote=False, boot=7)
    effects = subject.electorate_changed(electorate(range(5)), 0.0)
    kept = Promise(voted=NO_BALLOT, council_hash=NO_COUNCIL_HASH, highest=NO_BALLOT, lost_in=7)
    assert [effect for effect in effects if isinstance(effect, Persist)] == [Persist(kept)]

    for silent in (subject, peer(1, promise=kept, boot=8)):
        silent.handle(Announce(certificate=certificate(0, council=range(3)), followers=5), id_of(0), 1.0)
        beat = Heartbeat(ballot=ballot(1, 0), sequence=1, followers=5)
        assert silent.leader == id_of(0) and told(silent.handle(beat, id_of(0), 1.1)) == []
        silent.electorate_changed(electorate([1, 2, 3, 4]), 1.2)
        assert not is_voted_for(silent, vote_request(2, term=9, council=range(3)), 2, 5.0)
        while silent.next_deadline() < 20.0:
            assert "PreVoteRequest" not in names(silent.wake(silent.next_deadline(), 0.0))


def test_readmitted_voter_votes_above_the_terms_that_it_forgot() -> None:
    """The admin names the voter, the loss and the terms."""
    word = Readmission(voter=id_of(1), lost_in=7, above_term=40)
    subject = lost()

    effects = subject.handle(VotersKnown(voters=voter_list(voters=VOTERS, version=2, readmitted=[word])), id_of(0), 1.0)

    assert any(isinstance(effect, Persist) and effect.promise.lost_in == 0 for effect in effects)
    assert not is_voted_for(subject, vote_request(0, term=40, council=range(3)), 0, 2.0)
    assert is_voted_for(subject, vote_request(0, term=41, council=range(3)), 0, 2.0)


def test_readmission_waits_in_the_list_for_the_next_start() -> None:
    """``pair restart`` is enough."""
    word = Readmission(voter=id_of(1), lost_in=7, above_term=40)
    kept = Promise(voted=NO_BALLOT, council_hash=NO_COUNCIL_HASH, highest=NO_BALLOT, lost_in=7)

    subject = peer(1, voters=voter_list(voters=VOTERS, version=2, readmitted=[word]), promise=kept, boot=9)

    assert is_voted_for(subject, vote_request(0, term=41, council=range(3)), 0, 1.0)


@pytest.mark.parametrize("word", [Readmission(id_of(1), 6, 0), Readmission(id_of(2), 7, 0)])
def test_readmission_of_another_loss_or_voter_changes_nothing(word: Readmission) -> None:
    """A voter that loses its promise twice has to be readmitted twice."""
    subject = lost(voters=voter_list(voters=VOTERS, version=2, readmitted=[word]))

    assert not is_voted_for(subject, vote_request(0, term=99, council=range(3)), 0, 1.0)


def test_opinion_about_another_council_is_no_and_brings_the_list() -> None:
    """Two networks of one key but different lists never vote for each other."""
    effects = peer(1).handle(pre_vote_request(2, council=[1, 2, 4]), id_of(2), 1.0)

    assert (2, VotersKnown(voters=LIST)) in told(effects)
    assert not any(getattr(message, "granted", False) for _, message in told(effects))
