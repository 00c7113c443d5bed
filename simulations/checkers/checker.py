"""What all checkers share: the way they are fed, and how they say what they found."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeAlias, TypeVar

from simulations.cluster import Cluster
from simulations.history import History
from simulations.outside import NetworkSeen, PeerSeen
from simulations.scenario import Scenario
from simulations.verdict import Check
from simulations.witness import Observation, Reported, Signed

NetworkT_co = TypeVar("NetworkT_co", bound=NetworkSeen[PeerSeen], covariant=True)


@dataclass(frozen=True)
class Scope(Generic[NetworkT_co]):
    """What checkers look at. Times of ``scenario.faults`` are true times: a run begins with the world."""

    cluster: NetworkT_co
    history: History
    scenario: Scenario
    now: Callable[[], float]
    """True time in seconds."""

    patience: float = 1.0
    """By what times are stretched within which something must have happened: real machines are busy."""


Context: TypeAlias = Scope[Cluster]
"""For checkers that look into simulated peers."""

OutsideContext: TypeAlias = Scope[NetworkSeen[PeerSeen]]
"""For checkers that judge real processes as well."""


class Checker(Protocol):
    """Something that must hold throughout a run, or at its end."""

    name: str
    is_of_the_end: bool
    """Whether it can be judged only once all has healed: a run that is cut short says nothing of it."""

    @property
    def hears(self) -> tuple[type, ...]:
        """What it takes as it happens: classes of events that peers report, or ``Signed`` for all that they sign."""

    def observed(self, observation: Observation) -> None:
        """Take what it hears."""

    def scanned(self, at_s: float) -> None:
        """Look at everything; called each virtual second."""

    def finished(self) -> Check:
        """Say what came of it; called once, after the final reads."""


class Audience:
    """Tells checkers what happens, each only what it hears: most of what peers report concerns few of them."""

    def __init__(self, checkers: Iterable[Checker] = ()) -> None:
        self._hearing: dict[type, list[Checker]] = {}
        for checker in checkers:
            self.add(checker)

    def add(self, checker: Checker) -> None:
        """Tell one more, after the others."""
        for kind in checker.hears:
            self._hearing.setdefault(kind, []).append(checker)

    def tell(self, observation: Observation) -> None:
        """Pass on what a peer signed or reported."""
        kind = type(observation.event) if isinstance(observation, Reported) else Signed
        for checker in self._hearing.get(kind, ()):
            checker.observed(observation)


class _Look(Generic[NetworkT_co]):
    """Base of the checkers: looks at nothing, counts, and keeps the first violation."""

    name = ""
    hears: tuple[type, ...] = ()
    is_of_the_end = False

    def __init__(self, context: Scope[NetworkT_co]) -> None:
        self.context: Final = context
        self._violation = ""
        self._violations = 0
        self._counted = 0

    def observed(self, observation: Observation) -> None:
        """Take what a peer signed or reported; nothing, unless a subclass cares."""

    def scanned(self, at_s: float) -> None:
        """Look at everything; nothing, unless a subclass cares."""

    def finished(self) -> Check:
        """Say what came of it."""
        self.conclude()
        further = f" (and {self._violations - 1} more)" if self._violations > 1 else ""
        detail = f"{self._violation}{further}" if self._violations else f"{self._counted} {self.counts()}"
        return Check(name=self.name, ok=not self._violations, detail=detail)

    def conclude(self) -> None:
        """Look at what only the end shows; nothing, unless a subclass cares."""

    def counts(self) -> str:
        """Return what is counted, as it follows the number."""
        raise AssertionError("each checker says what it counts")

    def count(self, number: int = 1) -> None:
        """Note that so much was looked at."""
        self._counted += number

    def violated(self, detail: str) -> None:
        """Note a violation; the first one is told, all are counted."""
        self._violations += 1
        if self._violations == 1:
            self._violation = f"at {self.context.now():.3f} s: {detail}"


class Watch(_Look[Cluster]):
    """Base of the checkers that look into simulated peers."""


class OutsideWatch(_Look[NetworkSeen[PeerSeen]]):
    """Base of the checkers that judge a network from outside, be it simulated or real."""
