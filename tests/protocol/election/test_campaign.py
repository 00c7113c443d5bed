"""Counting consents: pending, won or lost (etcd raft, ``quorum``)."""

import pytest

from protocol.election.campaign import Campaign, Tally
from tests.protocol.election.papers import ballot, vote
from tests.protocol.election.town import id_of, ids

COUNCIL = range(5)


def campaign(*, votes: int = 0, would_vote: int = 0, refused: int = 0, is_voting: bool = True) -> Campaign:
    subject = Campaign(
        ballot=ballot(2, 0),
        council=ids(COUNCIL),
        is_merge=False,
        release=None,
        ends_at=1.0,
        resend_at=1.0,
        asked_votes_at=0.0 if is_voting else None,
    )
    subject.would_vote.update(dict.fromkeys(ids(range(would_vote))))
    subject.votes.update({id_of(number): vote(number, subject.ballot, COUNCIL) for number in range(votes)})
    subject.refused.update(dict.fromkeys(ids(range(5 - refused, 5))))
    return subject


@pytest.mark.parametrize(
    ("votes", "refused", "tally"),
    [(0, 0, "pending"), (2, 2, "pending"), (3, 0, "won"), (3, 2, "won"), (2, 3, "lost"), (0, 3, "lost")],
)
def test_majority_of_the_council_decides(votes: int, refused: int, tally: Tally) -> None:
    """Three of five, either way."""
    assert campaign(votes=votes, refused=refused).tally() == tally


def test_opinions_count_only_before_the_vote() -> None:
    """Who would vote has not voted."""
    assert campaign(would_vote=3, is_voting=False).tally() == "won"
    assert campaign(would_vote=5).tally() == "pending"


def test_only_missing_consents_are_asked_for_again() -> None:
    """Voters that gave their vote are left in peace."""
    assert campaign(votes=2).missing(id_of(0)) == ids([2, 3, 4])


def test_certificate_holds_a_bare_majority_ascending() -> None:
    """Enough, and it fits one datagram."""
    proof = campaign(votes=5).certificate()

    assert proof.signers == ids([0, 1, 2])


@pytest.mark.parametrize(("living", "can_win"), [([0, 1, 2], True), ([0, 1], False), ([0, 1, 7, 8, 9], False)])
def test_campaign_is_hopeless_without_a_living_majority(living: list[int], can_win: bool) -> None:
    """Peers outside the named council do not replace dead voters."""
    assert campaign().can_win_with(ids(living)) is can_win
