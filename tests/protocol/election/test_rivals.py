"""Two leaders meet: the larger side unites them, and only when it must."""

import pytest

from protocol.config import LOCAL
from protocol.election.rivals import Rivals, SideKey
from tests.protocol.election.papers import ballot
from tests.protocol.election.town import id_of

SETTLED_S = LOCAL.view_settle_s


def side(followers: int, leader: int) -> SideKey:
    return (-followers, id_of(leader))


def met(*, followers: int = 3, leader: int = 1, now: float = 0.0) -> Rivals:
    subject = Rivals(LOCAL)
    assert subject.met(ballot(2, leader), followers=followers, is_own_word=True, now=now)
    return subject


@pytest.mark.parametrize(
    ("own", "is_turn"),
    [(side(4, 2), True), (side(2, 0), False), (side(3, 0), True), (side(3, 2), False)],
)
def test_larger_side_unites_and_the_lower_id_breaks_a_tie(own: SideKey, is_turn: bool) -> None:
    """The rival, peer 1, has three followers (DESIGN section 6)."""
    subject = met()
    subject.met(ballot(2, 1), followers=3, is_own_word=True, now=SETTLED_S)

    assert subject.must_unite(own, now=SETTLED_S) is is_turn


def test_views_settle_first() -> None:
    """Often the certificate of one side soon holds for both, and nobody needs an election."""
    assert not met().must_unite(side(9, 0), now=SETTLED_S - 0.01)


def test_rival_has_to_say_just_now_that_it_leads() -> None:
    """It is asked again when the time has come; its word is what counts."""
    subject, own = met(), side(9, 0)
    assert subject.next_deadline(own) == pytest.approx(SETTLED_S)
    assert not subject.must_unite(own, now=SETTLED_S)
    assert subject.must_ask(own, now=SETTLED_S)
    assert not subject.must_ask(own, now=SETTLED_S + 0.01)

    subject.met(ballot(2, 1), followers=3, is_own_word=True, now=SETTLED_S + 0.01)

    assert subject.must_unite(own, now=SETTLED_S + 0.01)


def test_word_of_a_third_peer_is_no_proof_that_the_rival_leads() -> None:
    """It may be late."""
    subject = Rivals(LOCAL)
    subject.met(ballot(2, 1), followers=3, is_own_word=False, now=0.0)
    subject.met(ballot(2, 1), followers=3, is_own_word=False, now=SETTLED_S)

    assert not subject.must_unite(side(9, 0), now=SETTLED_S)


def test_smaller_side_acts_when_the_larger_does_not() -> None:
    """Counts may be stale on both sides; somebody has to."""
    subject, own = met(), side(1, 0)
    at = subject.next_deadline(own)
    subject.met(ballot(2, 1), followers=3, is_own_word=True, now=at)

    assert at > SETTLED_S
    assert subject.must_unite(own, now=at)


def test_side_that_follows_now_is_forgotten() -> None:
    """As is one of whom nobody speaks any more."""
    subject = met()
    subject.resolved(id_of(1))
    assert subject.rival is None

    subject = met()
    assert not subject.must_ask(side(9, 0), now=5.0)
    assert subject.next_deadline(side(9, 0)) == float("inf")


def test_certificate_is_shown_to_a_rival_at_a_bounded_rate() -> None:
    """Two leaders do not play ping-pong."""
    subject = met()

    assert not subject.met(ballot(2, 1), followers=3, is_own_word=True, now=0.001)
    assert subject.met(ballot(2, 1), followers=3, is_own_word=True, now=0.1)
