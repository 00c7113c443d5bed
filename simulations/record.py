"""What a run leaves behind for reports and plots; all of it can be pickled, and all of it follows from the seed."""

from dataclasses import dataclass, field

from simulations.faults import AnyFault
from simulations.history import History
from simulations.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How everything stood at one full second of virtual time."""

    at_s: float
    up: int
    """Peers that have a process, paused or not."""

    alive_tables: dict[int, int]
    """Mapping from a number of living members to how many running peers see so many; one entry means agreement."""

    leaders: dict[str, int]
    """Mapping from the name of a peer that somebody follows to the number of running peers that follow it."""

    terms: tuple[int, ...]
    """The terms that running peers are in, ascending."""

    ok: int
    """Operations so far that ended well; ``failed`` and ``unknown`` likewise."""

    failed: int
    unknown: int
    faults_now: tuple[str, ...]
    """Faults that last, and those that happened within the last second, described."""

    datagrams: int
    """Datagrams sent within the last second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedFault:
    """A fault that was carried out."""

    fault: AnyFault
    began_s: float
    ended_s: float
    """When it ended, or will; ``began_s`` for what happens at one instant."""

    targets: tuple[str, ...]
    """Names of the peers that it met; empty when it met none, or concerns links."""

    text: str
    """For people, targets included."""


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """One run."""

    scenario: Scenario
    seed: int
    is_live: bool = False
    """Whether real processes were run; seconds are real ones then."""

    history: History = field(default_factory=History)
    moments: list[Moment] = field(default_factory=list)
    applied: list[AppliedFault] = field(default_factory=list)
    healed_s: float | None = None
    """When all faults were ended."""

    settled_s: float | None = None
    """When all was well again: one leader, equal tables, all copies."""

    checkpoints: list[str] = field(default_factory=list)
    """Digests of the trace after each thousand events."""

    cut_short: str = ""
    """Why the run ended early; empty when it did not."""
