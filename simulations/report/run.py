"""A finished run, as the report looks at it."""

from dataclasses import dataclass

from simulations.record import RunRecord
from simulations.report.frame import Course, Span
from simulations.scenario import Scenario
from simulations.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Run:
    """What it came to, and what was written down on the way."""

    verdict: Verdict
    record: RunRecord

    @property
    def scenario(self) -> Scenario:
        """What was played."""
        return self.record.scenario

    @property
    def end_s(self) -> float:
        """When it ended, in virtual seconds."""
        return max(1.0, self.verdict.figures.get("simulated_s", 0.0))

    @property
    def healed_s(self) -> float:
        """When all faults were over; the end, when the run did not come so far."""
        return self.end_s if self.record.healed_s is None else self.record.healed_s

    @property
    def course(self) -> Course:
        """The ground of the pictures."""
        applied = self.record.applied
        lasting = [
            Span(fault.began_s, min(fault.ended_s, self.healed_s)) for fault in applied if fault.ended_s > fault.began_s
        ]
        struck = [fault.began_s for fault in applied if fault.ended_s <= fault.began_s]
        return Course(self.end_s, _merged(lasting), tuple(struck))


def _merged(spans: list[Span]) -> tuple[Span, ...]:
    """Return the union, so that the shade is the same where several faults overlap."""
    merged: list[Span] = []
    for span in sorted(spans, key=lambda span: span.begin_s):
        if merged and span.begin_s <= merged[-1].end_s:
            merged[-1] = Span(merged[-1].begin_s, max(merged[-1].end_s, span.end_s))
        else:
            merged.append(span)
    return tuple(merged)
