"""The dynamic suspicion timeout (Lifeguard 2017) and local health."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.config import LOCAL
from protocol.members.health import LocalHealth
from protocol.members.suspicion import Suspicions, suspicion_timeout_s
from tests.protocol.members.subject import peer_id

X = peer_id(9)


@given(st.integers(1, 4096), st.integers(1, 20))
def test_timeout_stays_between_shortest_and_longest(members: int, accusers: int) -> None:
    """Bounds of Lifeguard 2017: min and beta times min, falling with accusers, rising with members."""
    timeout_s = suspicion_timeout_s(members=members, accusers=accusers, config=LOCAL)
    longest_s = suspicion_timeout_s(members=members, accusers=1, config=LOCAL)
    shortest_s = suspicion_timeout_s(members=members, accusers=LOCAL.suspicion_confirmations, config=LOCAL)

    assert shortest_s >= LOCAL.suspicion_min_s
    assert longest_s == pytest.approx(shortest_s * LOCAL.suspicion_factor_max)
    assert shortest_s <= timeout_s <= longest_s
    assert suspicion_timeout_s(members=members, accusers=accusers + 1, config=LOCAL) <= timeout_s
    assert suspicion_timeout_s(members=members + 1, accusers=accusers, config=LOCAL) >= timeout_s


@pytest.mark.parametrize(("members", "accusers"), [(0, 1), (1, 0)])
def test_counts_out_of_range_are_refused(members: int, accusers: int) -> None:
    """There is at least one member and one accuser."""
    with pytest.raises(ValueError):
        suspicion_timeout_s(members=members, accusers=accusers, config=LOCAL)


def test_accusers_shorten_a_suspicion_that_runs() -> None:
    """The time counts from the first accusation."""
    suspicions = Suspicions(LOCAL)
    suspicions.accused(X, accusers=1, members=5, now=100.0)
    assert suspicions.deadline == pytest.approx(100 + LOCAL.suspicion_min_s * LOCAL.suspicion_factor_max)

    suspicions.accused(X, accusers=3, members=5, now=100.5)

    assert suspicions.deadline == pytest.approx(100 + LOCAL.suspicion_min_s)
    assert suspicions.ended(now=100.0 + LOCAL.suspicion_min_s - 0.01) == []
    assert suspicions.ended(now=100.0 + LOCAL.suspicion_min_s) == [X]


def test_last_word_is_granted_once_and_not_cut_short() -> None:
    """A further accuser must not take it back."""
    suspicions = Suspicions(LOCAL)
    suspicions.accused(X, accusers=2, members=5, now=100.0)

    assert suspicions.grant_last_word(X, for_s=0.15, now=105.0)
    suspicions.accused(X, accusers=3, members=5, now=105.1)

    assert suspicions.deadline == pytest.approx(105.15)
    assert not suspicions.grant_last_word(X, for_s=0.15, now=105.15)


def test_stall_gives_every_suspect_a_full_shortest_timeout() -> None:
    """A process that did not run cannot have heard a refutation."""
    suspicions = Suspicions(LOCAL)
    suspicions.accused(X, accusers=3, members=5, now=100.0)
    suspicions.grant_last_word(X, for_s=0.15, now=101.0)

    suspicions.resume(members=5, now=103.0)
    suspicions.accused(X, accusers=3, members=5, now=103.0)

    assert suspicions.deadline == pytest.approx(103 + LOCAL.suspicion_min_s)
    assert suspicions.grant_last_word(X, for_s=0.15, now=104.0)


def test_stopped_suspicion_has_no_deadline() -> None:
    """Refuted, or decided."""
    suspicions = Suspicions(LOCAL)
    suspicions.accused(X, accusers=3, members=5, now=100.0)

    suspicions.stop(X)

    assert suspicions.deadline == float("inf") and suspicions.find(X) is None


@given(st.lists(st.one_of(st.integers(0, 5), st.none()), max_size=50))
def test_local_health_stays_in_range(steps: list[int | None]) -> None:
    """Lifeguard 2017: saturates at both ends."""
    health = LocalHealth(score_max=8)
    for step in steps:
        if step is None:
            health.improve()
        else:
            health.worsen(step)
        assert 0 <= health.score <= 8
        assert health.factor == 1 + health.score
