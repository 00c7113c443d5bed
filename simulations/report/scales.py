"""From values to places on a picture, and the round values that an axis names."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Linear:
    """Equal steps are equally far apart."""

    low: float
    high: float
    """Greater than ``low``."""

    start: float
    """Where ``low`` lies, in units of the picture."""

    end: float

    def __call__(self, value: float) -> float:
        """Return where ``value`` lies."""
        return self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low)

    def ticks(self, count: int) -> list[float]:
        """Return some ``count`` round values, 1, 2 or 5 times a power of ten apart."""
        step = _round_step((self.high - self.low) / max(1, count))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [number * step for number in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Logarithmic:
    """Equal ratios are equally far apart."""

    low: float
    """Greater than 0."""

    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where ``value`` lies; what is below ``low`` lies at its start."""
        share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self.start + (self.end - self.start) * share

    def ticks(self, count: int) -> list[float]:
        """Return powers of ten, at most some ``count``."""
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        stride = max(1, math.ceil((last - first + 1) / max(1, count)))
        return [10.0**power for power in range(first, last + 1, stride)]


Scale = Linear | Logarithmic


def round_up(value: float) -> float:
    """Return the end of an axis that holds ``value``: 1, 2, 2.5 or 5 times a power of ten, at least 1."""
    if value <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= value * (1 - 1e-12))


def short(value: float) -> str:
    """Return a value as an axis names it: 1500 is ``1.5k``."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{letter}"
    return f"{value:.3g}"


def _round_step(at_least: float) -> float:
    power = 10.0 ** math.floor(math.log10(at_least))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= at_least * (1 - 1e-9))
