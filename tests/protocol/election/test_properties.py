"""What holds after any story: safety while faults last, and one leader soon after they end."""

import random
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.protocol.election.town import Town

Step = tuple[str, int, int, float]

_steps = st.lists(
    st.tuples(
        st.sampled_from(["cut", "heal", "one way", "kill", "restart", "pause", "resume", "hand over", "wait"]),
        st.integers(0, 2**16),
        st.integers(0, 2**16),
        st.sampled_from([0.02, 0.3, 1.0, 2.5]),
    ),
    max_size=8,
)
_quick = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


class Story:
    """Carries out steps on a town; views follow cuts and deaths as a membership would make them."""

    def __init__(self, count: int, *, seed: int, loss: float) -> None:
        self.town = Town(count, seed=seed, loss=loss)
        self._random = random.Random(f"story {seed}")
        self._era = 0
        self.town.all_see_all()
        self.town.run(0.5)

    def carry_out(self, steps: list[Step]) -> None:
        """Do everything, with pauses between."""
        for kind, first, second, pause_s in steps:
            self._step(kind, first, second)
            self.town.run(pause_s)

    def end_faults(self) -> None:
        """Resume what is paused and heal what is cut; the dead stay dead."""
        for number, person in self.town.people.items():
            if person.is_up and person.is_paused:
                self.town.resume(number)
        self.town.loss = 0.0
        self._heal()

    def _step(self, kind: str, first: int, second: int) -> None:
        town = self.town
        one = first % len(town.people)
        other = second % len(town.people)
        person = town.people[one]
        running = [number for number, each in town.people.items() if each.is_up and not each.is_paused]
        if kind == "cut":
            self._cut({number: (first >> number) & 1 for number in town.people})
        elif kind == "heal":
            self._heal()
        elif kind == "one way":
            self._era += 1
            town.cut = lambda sender, receiver: (sender, receiver) == (one, other)
        elif kind == "kill" and person.is_up and running not in ([], [one]):
            person.is_paused = False
            town.kill(one)
        elif kind == "restart" and not person.is_up:
            town.restart(one, [number for number, each in town.people.items() if each.is_up])
            self._soon_all(lambda number: town.see(number, town.people[number].sees | {one}), within_s=0.1)
        elif kind == "pause" and one in running and len(running) > 1:
            town.pause(one)
        elif kind == "resume" and person.is_up and person.is_paused:
            town.resume(one)
        elif kind == "hand over" and one in running:
            town.hand_over(one, other)

    def _cut(self, groups: dict[int, int]) -> None:
        town = self.town
        town.cut = lambda sender, receiver: groups[sender] != groups[receiver]
        self._era += 1
        self._soon_all(
            lambda number: town.see(number, [n for n in town.people[number].sees if groups[n] == groups[number]]),
            after_s=0.5,
            within_s=1.5,
        )

    def _heal(self) -> None:
        town = self.town
        town.cut = lambda _sender, _receiver: False
        self._era += 1
        up = [number for number, person in town.people.items() if person.is_up]
        self._soon_all(lambda number: town.see(number, [n for n in up if town.people[n].is_up]), within_s=0.3)

    def _soon_all(self, look: Callable[[int], None], *, within_s: float, after_s: float = 0.0) -> None:
        """Let every peer look at its own moment, unless something else happened to the wires before."""
        era = self._era

        def look_in_time(number: int) -> None:
            if era == self._era and self.town.people[number].is_up:
                look(number)

        for number in self.town.people:
            at = self._random.uniform(after_s, within_s)
            self.town.after(at, lambda number=number: look_in_time(number))  # type: ignore[misc]


@_quick
@given(steps=_steps, count=st.integers(1, 9), seed=st.integers(0, 2**16), loss=st.sampled_from([0.0, 0.05, 0.2]))
def test_one_leader_is_followed_by_all_within_two_seconds_of_the_last_fault(
    steps: list[Step], count: int, seed: int, loss: float
) -> None:
    """And on the way nobody signs twice, and no (term, council) has two leaders (the town checks every message)."""
    story = Story(count, seed=seed, loss=loss)
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
    story = Story(count, seed=seed, loss=loss)
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
    story = Story(count, seed=seed, loss=0.1)
    story.carry_out(steps)

    leaders: dict[int, set[bytes]] = {}
    for number in story.town.people:
        for ballot in story.town.ballots_followed_by(number):
            leaders.setdefault(ballot.term, set()).add(ballot.candidate)
    assert all(len(found) == 1 for found in leaders.values())
