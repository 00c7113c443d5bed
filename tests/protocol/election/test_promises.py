"""What a voter must never forget (DESIGN section 6, "Leader")."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.effects import Promise
from protocol.election.promises import HEARSAY_RISE_MAX, NO_BALLOT, NO_COUNCIL_HASH, NOBODY, TRUST_S, Promises
from protocol.limits import TERM_JUMP_MAX
from protocol.statements import Ballot
from tests.protocol.election.papers import ballot
from tests.protocol.election.town import id_of, ids

HASH, OTHER_HASH = b"a" * 16, b"b" * 16


def promises(*, voted: Ballot = NO_BALLOT, highest: Ballot = NO_BALLOT, may_vote: bool = True) -> Promises:
    return Promises(Promise(voted=voted, council_hash=HASH, highest=highest), may_vote=may_vote)


@pytest.mark.parametrize(
    ("asked", "council_hash", "is_allowed"),
    [
        (ballot(3, 1), HASH, True),  # the same again
        (ballot(3, 1), OTHER_HASH, False),  # another council for one candidate
        (ballot(3, 2), HASH, False),  # another candidate in one term
        (ballot(2, 1), HASH, False),  # an earlier term
        (ballot(4, 2), OTHER_HASH, True),
    ],
)
def test_voter_signs_one_candidate_and_one_council_per_term(
    asked: Ballot, council_hash: bytes, is_allowed: bool
) -> None:
    """The rule that everything else rests on (Raft 2014, section 5.2)."""
    assert promises(voted=ballot(3, 1)).allows_vote(asked, council_hash) is is_allowed


def test_accepted_certificate_ends_its_term_for_votes() -> None:
    """Who follows a leader of term 3 votes for nobody else in term 3."""
    assert not promises(highest=ballot(3, 1)).allows_vote(ballot(3, 2), HASH)


@pytest.mark.parametrize(
    ("voted", "highest", "act", "is_refused"),
    [
        (NO_BALLOT, ballot(3, 1), ballot(3, 1), False),
        (NO_BALLOT, ballot(3, 1), ballot(3, 0), True),
        (NO_BALLOT, ballot(3, 1), ballot(2, 4), True),
        (ballot(4, 2), ballot(3, 1), ballot(3, 1), True),  # a vote fences the leader before
        (ballot(4, 1), ballot(3, 1), ballot(3, 1), False),  # but not the leader that renews its certificate
    ],
)
def test_acts_below_the_fence_are_refused(voted: Ballot, highest: Ballot, act: Ballot, is_refused: bool) -> None:
    """No receiver accepts an act below the highest ballot that it stored."""
    assert promises(voted=voted, highest=highest).refuses_act(act) is is_refused


@pytest.mark.parametrize(("term", "is_jump"), [(5 + TERM_JUMP_MAX, False), (6 + TERM_JUMP_MAX, True), (2**62, True)])
def test_jump_of_the_term_is_told_apart(term: int, is_jump: bool) -> None:
    """An honest network needs one step per election."""
    assert promises(voted=ballot(5, 1)).is_jump(ballot(term, 1)) is is_jump


def test_fresh_peer_joins_an_old_network() -> None:
    """It has no term to compare a certificate with; a mere request must not make use of that."""
    fresh = Promises(None, may_vote=True)

    assert not fresh.is_jump_of_proof(ballot(10**6, 1))
    assert fresh.is_jump(ballot(10**6, 1))


def test_far_term_of_a_fresh_peer_is_taken_on_trust() -> None:
    """Nothing of it reaches the disk, and it is forgotten whole; after a time it counts like any other."""
    subject = Promises(None, may_vote=False)
    assert subject.accept(ballot(2**62, 1), now=5.0) is False
    subject.hear(ballot(2**62 + 7, 1))
    assert (subject.top, subject.may_vote) == (ballot(2**62, 1), False)

    subject.forget_trust(now=6.0)
    assert (subject.top, subject.known_term, subject.is_on_trust(6.0)) == (NO_BALLOT, 0, False)

    assert subject.accept(ballot(10**6, 1), now=10.0) is False
    assert subject.accept(ballot(10**6 + 1, 1), now=10.0 + TRUST_S) is True
    subject.forget_trust(now=11.0 + TRUST_S)
    assert subject.top == ballot(10**6 + 1, 1)


def test_term_within_reach_is_no_matter_of_trust() -> None:
    """Nearly all networks are so young: what was accepted stays."""
    subject = Promises(None, may_vote=True)
    assert subject.accept(ballot(TERM_JUMP_MAX, 1), now=5.0) is True

    subject.forget_trust(now=6.0)
    assert subject.top == ballot(TERM_JUMP_MAX, 1)


def test_hearsay_moves_the_next_term_by_a_bounded_step() -> None:
    """No signature proves what a refusal says."""
    subject = promises(voted=ballot(5, 1))
    for _ in range(10):
        subject.hear(ballot(2**62, 1))

    assert subject.known_term == 5 + HEARSAY_RISE_MAX


def test_votes_already_fence_so_only_others_write_again() -> None:
    """Who signed in term 3 need not sync the certificate of term 3."""
    assert promises(voted=ballot(3, 1)).accept(ballot(3, 1), now=0.0) is False
    assert promises(voted=ballot(2, 1)).accept(ballot(3, 1), now=0.0) is True


def test_silent_voter_votes_again_once_a_majority_of_the_others_told_their_terms() -> None:
    """A lost promise can only matter for candidates that the others know of (DESIGN section 10)."""
    subject = Promises(None, may_vote=False)
    others = ids([1, 2, 3, 4])

    assert not subject.learn_from(id_of(1), ballot(7, 1), others=others, needed=3)
    assert not subject.learn_from(id_of(9), ballot(7, 1), others=others, needed=3)  # not of the council
    assert not subject.learn_from(id_of(2), ballot(9, 1), others=others, needed=3)
    assert not subject.allows_vote(ballot(10, 1), HASH)
    assert subject.learn_from(id_of(3), ballot(8, 1), others=others, needed=3)

    assert subject.allows_vote(ballot(10, 1), HASH)
    assert not subject.allows_vote(ballot(9, 1), HASH)
    assert subject.promise == Promise(voted=Ballot(9, NOBODY), council_hash=NO_COUNCIL_HASH, highest=NO_BALLOT)


_ballots = st.builds(ballot, st.integers(1, 6), st.integers(0, 3))
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("vote"), _ballots, st.sampled_from([HASH, OTHER_HASH])),
        st.tuples(st.just("accept"), _ballots, st.none()),
        st.tuples(st.just("restart"), st.none(), st.none()),
    ),
    max_size=30,
)


@given(_steps)
def test_no_history_signs_twice_in_one_term(steps: list[tuple[str, Ballot | None, bytes | None]]) -> None:
    """Also across boots that start from what was on disk; the fence never falls."""
    disk: Promise | None = None
    subject = Promises(None, may_vote=True)
    signed: dict[int, tuple[Ballot, bytes]] = {}
    for step, asked, council_hash in steps:
        floor = subject.floor
        if step == "restart":
            subject = Promises(disk, may_vote=True)
            continue
        assert asked is not None
        if step == "accept":
            if asked >= subject.floor and subject.accept(asked, now=0.0):
                disk = subject.promise
        elif council_hash is not None and subject.allows_vote(asked, council_hash):
            if subject.vote(asked, council_hash):
                disk = subject.promise
            assert signed.setdefault(asked.term, (asked, council_hash)) == (asked, council_hash)
        assert subject.floor >= floor
