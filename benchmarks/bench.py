"""What every measurement is given: the size of the run, its seed, a folder, and a way to say what goes on."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

_T = TypeVar("_T")


class BenchError(Exception):
    """A measurement could not be made; the text says why."""


@dataclass(slots=True)
class Bench:
    """One run of the benchmarks."""

    seed: int
    smoke: bool
    """Few peers and few repetitions: shows that everything works, and measures nothing worth telling."""

    folder: Path
    """Empty at the start; everything that a measurement writes is below it."""

    only: frozenset[str]
    """Keys of the rows to measure."""

    random: Random = field(init=False)

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def size(self, full: int, smoke: int) -> int:
        """Return how many: peers, repetitions, seconds."""
        return smoke if self.smoke else full

    def wants(self, rows: Iterable[str]) -> list[str]:
        """Return those of ``rows`` that are to be measured."""
        return [row for row in rows if row in self.only]

    def say(self, text: str) -> None:
        """Show progress."""
        print(f"  {text}", file=sys.stderr, flush=True)
