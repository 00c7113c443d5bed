"""What holds after any story: safety while faults last, and one leader soon after they end."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.examples import examples
from tests.protocol.election.story import Step, Story
from tests.protocol.election.town import Town

_steps = st.lists(
    st.tuples(
        st.sampled_from(["cut", "heal", "one way", "kill", "restart", "pause", "resume", "hand over", "wait"]),
        st.integers(0, 2**16),
        st.integers(0, 2**16),
        st.sampled_from([0.02, 0.3, 1.0, 2.5]),
    ),
    max_size=8,
)
_quick = settings(deadline=None, max_examples=examples(60), suppress_health_check=[HealthCheck.too_slow])


@_quick
@given(steps=_steps, count=st.integers(1, 9), seed=st.integers(0, 2**16), loss=st.sampled_from([0.0, 0.05, 0.2]))
def test_one_leader_is_followed_by_all_within_two_seconds_of_the_last_fault(
    steps: list[Step], count: int, seed: int, loss: float
) -> None:
    """And on the way nobody signs twice, and no (term, council) has two leaders (the town checks every message)."""
    story = Story(Town(count, seed=seed, loss=loss), seed=seed)
    story.carry_out(steps)

    story.end_faults()
    story.town.run(0.31)

    assert story.town.run(1.7, until=story.town.is_united), (story.town.followed(), story.town.leaders())
    story.town.run(1.0)
    assert story.town.is_united()


_calm_steps = st.lists(
    st.tuples(
        st.sampled_from(["pause", "resume", "hand over", "one way"]),
        st.integers(0, 2**16),
        st.integers(0, 2**16),
        st.sampled_from([0.02, 0.3, 1.0]),
    ),
    max_size=8,
)


@_quick
@given(steps=_calm_steps, count=st.integers(1, 8), seed=st.integers(0, 2**16), loss=st.sampled_from([0.0, 0.2]))
def test_leases_never_overlap_while_all_see_the_same_members(
    steps: list[Step], count: int, seed: int, loss: float
) -> None:
    """With one view there is one council: whoever leads holds its majority, and so nobody else does."""
    story = Story(Town(count, seed=seed, loss=loss), seed=seed)
    rivals: list[list[int]] = []

    def look() -> bool:
        if len(story.town.leaders()) > 1:  # paused peers, which cannot act, left out
            rivals.append(story.town.leaders())
        return False

    for kind, first, second, pause_s in steps:
        story.carry_out([(kind, first, second, 0.0)])
        story.town.run(pause_s, until=look)

    assert rivals == []


@_quick
@given(steps=_calm_steps, count=st.integers(2, 8), seed=st.integers(0, 2**16))
def test_one_view_has_one_leader_per_term(steps: list[Step], count: int, seed: int) -> None:
    """Terms never have two leaders where all see the same members."""
    story = Story(Town(count, seed=seed, loss=0.1), seed=seed)
    story.carry_out(steps)

    leaders: dict[int, set[bytes]] = {}
    for number in story.town.people:
        for ballot in story.town.ballots_followed_by(number):
            leaders.setdefault(ballot.term, set()).add(ballot.candidate)
    assert all(len(found) == 1 for found in leaders.values())
