"""Makes a failing scenario small: the fewest faults, the shortest ones, the shortest run that still fail.

Delta debugging (Zeller and Hildebrandt 2002, ddmin) over the schedule, then halving of durations. Each fault and each
link draws from a stream of its own, so taking one fault away leaves the others as they were.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import msgspec

from simulations.faults import AnyFault, ends_at
from simulations.scenario import Scenario
from simulations.scenario_file import save

__all__ = ["RUNS_MAX", "save", "shrunken"]

Fails: TypeAlias = Callable[[Scenario], bool]
"""Runs a scenario with the failing seed and says whether the same check fails."""

RUNS_MAX: Final = 200
"""Runs of one search; what it has found by then is the answer."""

_AFTER_LAST_FAULT_S: Final = 1.0


class _Spent(Exception):
    """All runs are used up."""


def shrunken(scenario: Scenario, fails: Fails, *, runs_max: int = RUNS_MAX) -> Scenario:
    """Return the smallest scenario found that still fails; the given one, when nothing can be left out."""
    search = _Search(scenario, fails, runs_max)
    try:
        search.leave_out_faults()
        search.shorten_run()
        search.shorten_faults()
    except _Spent:
        pass
    return search.best


class _Search:
    def __init__(self, scenario: Scenario, fails: Fails, runs_max: int) -> None:
        self.best = scenario
        self._fails = fails
        self._runs_left = runs_max

    def leave_out_faults(self) -> None:
        """Leave out halves, then quarters and so on, as long as what stays still fails."""
        if self.best.faults and self._try(faults=()):
            return
        parts = 2
        while len(self.best.faults) > 1:
            faults = self.best.faults
            size = -(-len(faults) // parts)
            starts = range(0, len(faults), size)
            if any(self._try(faults=faults[:start] + faults[start + size :]) for start in starts):
                parts = max(2, parts - 1)
            elif size == 1:
                return
            else:
                parts = min(len(faults), 2 * parts)

    def shorten_run(self) -> None:
        """End the workload soon after the last fault, if that is enough."""
        last_s = max((ends_at(fault) for fault in self.best.faults), default=0.0)
        for duration_s in (last_s + _AFTER_LAST_FAULT_S, 0.5 * self.best.duration_s, 0.75 * self.best.duration_s):
            fits = all(fault.at_s <= duration_s for fault in self.best.faults)
            if fits and duration_s < self.best.duration_s and self._try(duration_s=round(duration_s, 3)):
                return

    def shorten_faults(self) -> None:
        """Halve how long each fault lasts, as often as it still fails."""
        for number in range(len(self.best.faults)):
            while (for_s := getattr(self.best.faults[number], "for_s", 0.0)) > 0.05:
                shorter = msgspec.structs.replace(self.best.faults[number], for_s=round(for_s / 2, 3))
                if not self._try(faults=_with(self.best.faults, number, shorter)):
                    break

    def _try(self, **changes: object) -> bool:
        if self._runs_left == 0:
            raise _Spent
        self._runs_left -= 1
        candidate = msgspec.structs.replace(self.best, **changes)
        if not self._fails(candidate):
            return False
        self.best = candidate
        return True


def _with(faults: Sequence[AnyFault], number: int, fault: AnyFault) -> tuple[AnyFault, ...]:
    return (*faults[:number], fault, *faults[number + 1 :])
