"""Stories: random faults on a town, with views of the members that follow them."""

import random
from collections.abc import Callable

from tests.protocol.election.town import Town

Step = tuple[str, int, int, float]
"""What happens, to whom, with whom, and the pause after it in seconds."""


class Story:
    """Carries out steps on a town; views follow cuts and deaths as a membership would make them."""

    def __init__(self, town: Town, *, seed: int) -> None:
        self.town = town
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
        elif kind == "isolate":
            self._cut({number: int(number == one) for number in town.people}, after_s=0.01, within_s=0.05)
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

    def _cut(self, groups: dict[int, int], *, after_s: float = 0.5, within_s: float = 1.5) -> None:
        town = self.town
        town.cut = lambda sender, receiver: groups[sender] != groups[receiver]
        self._era += 1
        self._soon_all(
            lambda number: town.see(number, [n for n in town.people[number].sees if groups[n] == groups[number]]),
            after_s=after_s,
            within_s=within_s,
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
