"""What one entry of the catalogue is: a name, its page, and how a seed becomes a scenario."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from simulations.faults import AnyFault
from simulations.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What a scenario is made from; the same draw gives the same scenario."""

    name: str
    summary: str
    nodes: int
    seed: int
    duration_s: float
    k: int
    """Holders of each record; see ``k_of``."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all peers."""
        return tuple(f"peer-{number}" for number in range(1, self.nodes + 1))

    def random(self) -> random.Random:
        """Return the scenario's own random numbers, from their beginning."""
        return random.Random(f"{self.seed}/{self.name}")

    def shuffled(self) -> tuple[str, ...]:
        """Return the names of all peers in a drawn order."""
        return tuple(self.random().sample(self.names, self.nodes))

    def at(self, share: float) -> float:
        """Return the moment at which so much of the duration has passed, in seconds."""
        return round(share * self.duration_s, 3)

    def scenario(self, *faults: AnyFault, **fields: Any) -> Scenario:
        """Return the scenario with these faults, in order of time, and further fields.

        Faults behind the end are left out; healing starts whoever is down by then.
        """
        return Scenario(
            name=self.name,
            summary=self.summary,
            nodes=self.nodes,
            k=self.k,
            duration_s=self.duration_s,
            faults=tuple(sorted((f for f in faults if f.at_s < self.duration_s), key=lambda fault: fault.at_s)),
            **fields,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueEntry:
    """A scenario that everybody can run by its name."""

    name: str
    summary: str
    """One sentence; also the first paragraph of the page."""

    make: Callable[[Draw], Scenario]

    @property
    def page(self) -> str:
        """Path of its page of documentation, from the root of the source."""
        return f"docs/scenarios/{self.name}.md"


def k_of(seed: int, nodes: int) -> int:
    """Return the number of holders for a seed: 3 for half of them where peers suffice, so that placement matters."""
    return 3 if seed % 2 and nodes >= 15 else 8
