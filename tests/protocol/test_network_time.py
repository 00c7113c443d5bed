"""Network time is the median of the members' clocks."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.network_time import NetworkClock
from tests.protocol.samples import identity

HOUR_MS = 3_600_000
NOON_MS = 1_800_000_000_000


def clock(*, wall_ms: int = NOON_MS) -> NetworkClock:
    return NetworkClock(wall_ms=wall_ms, now=100.0)


def sample(subject: NetworkClock, number: int, wall_ms: int) -> None:
    subject.sample(identity(number).peer_id, wall_ms=wall_ms, round_trip_s=0.0, now=100.0)


def test_lone_peer_uses_its_own_clock() -> None:
    """Nobody else is there to ask."""
    assert clock().time_ms(101.0) == NOON_MS + 1000


def test_clock_an_hour_off_moves_nothing() -> None:
    """A minority of wrong clocks is outvoted (DESIGN section 7)."""
    subject = clock()
    for number, wall_ms in enumerate((NOON_MS, NOON_MS + 2, NOON_MS + HOUR_MS)):
        sample(subject, number, wall_ms)

    assert abs(subject.time_ms(100.0) - NOON_MS) <= 2


def test_peer_whose_own_clock_is_off_follows_the_others() -> None:
    """It neither wins nor is locked out."""
    subject = clock(wall_ms=NOON_MS - HOUR_MS)
    sample(subject, 1, NOON_MS)
    sample(subject, 2, NOON_MS)

    assert subject.time_ms(100.0) == NOON_MS
    assert subject.wall_ms(100.0) == NOON_MS - HOUR_MS


def test_newcomer_believes_its_contact_until_it_heard_enough_clocks() -> None:
    """One sample and the own clock have no median worth the name."""
    subject = clock(wall_ms=NOON_MS - HOUR_MS)
    subject.told(NOON_MS, now=100.0)
    sample(subject, 1, NOON_MS + HOUR_MS)

    assert subject.time_ms(100.0) == NOON_MS


def test_forgotten_member_counts_no_more() -> None:
    """A failed member's clock is not asked."""
    subject = clock()
    for number in (1, 2, 3, 4):
        sample(subject, number, NOON_MS + HOUR_MS * (number > 2))
    assert subject.time_ms(100.0) == NOON_MS

    subject.forget(identity(1).peer_id)
    subject.forget(identity(2).peer_id)
    assert subject.time_ms(100.0) == NOON_MS + HOUR_MS


def test_a_last_member_moves_nobody() -> None:
    """Cut off with a liar, a peer once wrote ten days ahead of all others (found by swizzle: 7 peers, seed 12)."""
    subject = clock()
    for number, wall_ms in enumerate((NOON_MS + 20, NOON_MS + 20, NOON_MS + 400 * HOUR_MS)):
        sample(subject, number, wall_ms)

    subject.forget(identity(0).peer_id)
    subject.forget(identity(1).peer_id)
    assert subject.time_ms(101.0) == NOON_MS + 1020


def test_of_two_clocks_the_own_one_counts() -> None:
    """The mean of two is nobody's time; who joins later believes what it is told."""
    subject = clock()
    sample(subject, 1, NOON_MS + HOUR_MS)

    assert subject.time_ms(100.0) == NOON_MS


def test_round_trip_is_halved() -> None:
    """The answer is half a round trip old when it arrives."""
    subject = clock()
    for number in (1, 2):
        subject.sample(identity(number).peer_id, wall_ms=NOON_MS, round_trip_s=0.2, now=100.0)

    assert subject.time_ms(100.0) == NOON_MS + 100


@given(st.permutations([0, 5, -7, HOUR_MS, -HOUR_MS]))
def test_order_of_samples_does_not_matter(offsets: list[int]) -> None:
    """Every peer computes the same time from the same clocks."""
    subject = clock()
    for offset in offsets:
        sample(subject, abs(offset) + (offset < 0), NOON_MS + offset)

    assert abs(subject.time_ms(100.0) - NOON_MS) <= 7
