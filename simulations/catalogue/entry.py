"""What one entry of the catalogue is: a name, its page, and how a seed becomes a scenario."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from simulations.scenario import Scenario

PAGES: Final = Path(__file__).resolve().parent.parent.parent / "docs" / "scenarios"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What a scenario is made from."""

    nodes: int
    seed: int
    duration_s: float
    k: int
    """Holders of each record; see ``k_of``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all peers."""
        return tuple(f"peer-{number}" for number in range(1, self.nodes + 1))

    def random(self, purpose: str) -> random.Random:
        """Return random numbers that follow from the seed, for one purpose."""
        return random.Random(f"{self.seed}/{purpose}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A scenario that everybody can run by its name."""

    name: str
    summary: str
    make: Callable[[Draw], Scenario]
    duration_s: float = 60.0
    """How long it runs when nobody says otherwise."""

    @property
    def page(self) -> str:
        """Path of its page of documentation, from the root of the source."""
        return f"docs/scenarios/{self.name}.md"


def k_of(seed: int, nodes: int) -> int:
    """Return the number of holders for a seed: 3 for half of them where peers suffice, so that placement matters."""
    return 3 if seed % 2 and nodes >= 15 else 8
