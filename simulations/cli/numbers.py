"""Seeds on the command line: one number, or all from A to B."""

import random
from typing import Any, Final

import click

SEED_MAX: Final = 2**63 - 1
SWEEP_MAX: Final = 1_000_000
"""Seeds of one sweep."""

_DRAWN_BELOW: Final = 2**32
"""A seed that nobody chose is short enough to be typed again."""


class Seed(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """A whole number from 0 on."""

    name = "seed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the number; anything else is wrong use."""
        seed = _whole(str(value))
        if seed is None:
            self.fail(f"{value!r} is no seed: choose a whole number from 0 to {SEED_MAX}", param, ctx)
        return seed


class Seeds(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """``A..B``, both included."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """Return the seeds; anything else is wrong use."""
        if isinstance(value, range):
            return value
        first, dots, last = str(value).partition("..")
        low, high = _whole(first), _whole(last)
        if not dots or low is None or high is None:
            self.fail(f"{value!r} is no range of seeds: write A..B, for example 1..200", param, ctx)
        if low > high:
            self.fail(f"{value!r} holds no seed: the first must not be above the last", param, ctx)
        if high - low >= SWEEP_MAX:
            self.fail(f"{value!r} holds {high - low + 1} seeds: choose at most {SWEEP_MAX}", param, ctx)
        return range(low, high + 1)


def drawn_seed() -> int:
    """Return a seed that nobody chose; the verdict names it."""
    return random.SystemRandom().randrange(_DRAWN_BELOW)


def _whole(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        return None
    number = int(text)
    return number if number <= SEED_MAX else None
