"""Medians, tails and spread of what was measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """Measured values of one kind, ascending; never empty."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Sample":
        """Take at least one value, in any order.

        Raises:
            ValueError: There is none: nothing was measured.
        """
        if not values:
            raise ValueError("nothing was measured")
        return cls(tuple(sorted(values)))

    def percentile(self, percent: float) -> float:
        """Return the smallest value that at least ``percent`` of all values do not exceed (nearest rank)."""
        rank = math.ceil(percent / 100 * len(self.values))
        return self.values[min(max(rank, 1), len(self.values)) - 1]

    @property
    def p50(self) -> float:
        """The median."""
        return self.percentile(50)

    @property
    def p99(self) -> float:
        """The 99th percentile; the largest value when there are fewer than a hundred."""
        return self.percentile(99)

    @property
    def max(self) -> float:
        """The largest value."""
        return self.values[-1]

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return math.fsum(self.values) / len(self.values)

    def document(self) -> dict[str, Any]:
        """Return the figures for ``--json``."""
        return {
            "count": len(self.values),
            "min": self.values[0],
            "p50": self.p50,
            "p90": self.percentile(90),
            "p99": self.p99,
            "max": self.max,
            "mean": self.mean,
        }


def seconds(value_s: float) -> str:
    """Return a duration as a person reads it, in ms below a second."""
    if value_s < 1:
        return f"{value_s * 1000:.{2 if value_s < 0.01 else 0}f} ms"
    return f"{value_s:.2f} s"


def spread(sample: Sample) -> str:
    """Return median, tail and worst of durations."""
    return f"p50 {seconds(sample.p50)}, p99 {seconds(sample.p99)}, max {seconds(sample.max)} (n = {len(sample.values)})"
