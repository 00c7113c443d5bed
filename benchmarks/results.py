"""What a row says: its figures, and whether they reach what was asked."""

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal["goal", "must", "short", "shown", "failed"]
"""Goal reached; must reached; neither; nothing to reach; the row broke."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What was measured for one row of Pair."""

    measured: str
    """The figures in one line."""

    must: bool
    goal: bool | None = None
    """Whether what must be reached, and what we aim at, is; None where the row has no goal."""

    lead: float | None = None
    """The one figure that is compared with other systems; lower is better."""

    notes: tuple[str, ...] = ()
    """How it was measured, and what else was seen."""

    figures: dict[str, Any] = field(default_factory=dict)
    """All figures, for ``--json``."""

    @property
    def verdict(self) -> Verdict:
        """The row's verdict."""
        if not self.must:
            return "short"
        return "must" if self.goal is False else "goal"


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """What another system did in the same run."""

    system: str
    row: str
    """Key of the row that it stands beside."""

    measured: str
    lead: float | None = None
    """Comparable with ``Outcome.lead`` of the row; None where the two do not do the same."""

    notes: tuple[str, ...] = ()
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RowResult:
    """One finished row with what stands beside it."""

    key: str
    what: str
    must: str
    goal: str
    outcome: Outcome | None
    """None when the row broke, or was left out while other systems were measured for it."""

    failure: str = ""

    def document(self) -> dict[str, Any]:
        """Return the JSON form."""
        outcome = self.outcome
        return {
            "row": self.key,
            "what": self.what,
            "must": self.must,
            "goal": self.goal,
            "measured": outcome.measured if outcome else None,
            "verdict": outcome.verdict if outcome else "failed",
            "failure": self.failure or None,
            "notes": list(outcome.notes) if outcome else [],
            "figures": outcome.figures if outcome else {},
        }
