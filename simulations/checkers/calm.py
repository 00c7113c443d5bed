"""When the network was calm: no fault, and no change of members, leaders or roles, with equal views at every peer.

What DESIGN promises of a quiet network is demanded of operations that lie wholly inside such a time.
"""

from dataclasses import dataclass
from typing import Final

from simulations.checkers.checker import OutsideContext
from simulations.faults import ClockRate, ends_at
from simulations.history import Operation
from simulations.looking import is_united

QUIET_S: Final = 2.0
"""A network is quiet when nothing happened for so long (DESIGN section 7)."""

_RATE_SLEW_S: Final = 15.0
"""After a clock began to run at another rate, network time may drift for so long before the peers agree on it."""


@dataclass(slots=True)
class Span:
    """A stretch of true time."""

    begin_s: float
    end_s: float


class Calm:
    """Collects the calm stretches of a run.

    Peers are looked at once a second, but whatever they report ends a stretch at once, and so does a scheduled fault.
    """

    def __init__(self, context: OutsideContext) -> None:
        self._context = context
        self._spans: list[Span] = []
        self._disturbed_s = 0.0
        self._faults = sorted(
            (fault.at_s, ends_at(fault) + (_RATE_SLEW_S if isinstance(fault, ClockRate) else 0.0))
            for fault in context.scenario.faults
        )

    def disturbed(self, at_s: float) -> None:
        """End the stretch: something changed."""
        self._disturbed_s = at_s

    def scanned(self, at_s: float) -> None:
        """Begin a stretch, or let it go on, if all is well now."""
        if not is_united(self._context.cluster):
            self.disturbed(at_s)
            return
        last = self._spans[-1] if self._spans else None
        if last is not None and last.end_s >= self._disturbed_s:
            last.end_s = at_s
        else:
            self._spans.append(Span(at_s, at_s))

    def around(self, operation: Operation) -> Span | None:
        """Return the calm stretch that holds a whole operation and the quiet time before it, if there is one."""
        if operation.ended_s is None:
            return None
        for span in self._spans:
            if span.begin_s + QUIET_S <= operation.began_s and operation.ended_s <= span.end_s:
                return None if self._has_fault(operation.began_s - QUIET_S, operation.ended_s) else span
        return None

    def is_calm(self, from_s: float, to_s: float) -> bool:
        """Return whether nothing disturbed the network between two times."""
        inside = any(span.begin_s <= from_s and to_s <= span.end_s for span in self._spans)
        return inside and not self._has_fault(from_s, to_s)

    def _has_fault(self, from_s: float, to_s: float) -> bool:
        return any(begin_s <= to_s and from_s <= end_s for begin_s, end_s in self._faults)
