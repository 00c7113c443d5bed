"""The history of a run: each operation of each client, with what it came to.

An operation ends ``ok``, ``failed`` or ``unknown``: one that timed out, or whose peer died, may take effect at any
later time (DESIGN section 7).
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Kind: TypeAlias = Literal["put", "delete", "get"]
Outcome: TypeAlias = Literal["pending", "ok", "failed", "unknown"]


@dataclass(slots=True, kw_only=True)
class Operation:
    """One operation of one client. Times are true seconds since the start of the world."""

    number: int
    kind: Kind
    key: str
    value: bytes | None
    """What a put writes; what a get found, None for absent."""

    ttl_s: float | None = None
    asked: str
    """Name of the peer that was asked."""

    began_s: float
    ended_s: float | None = None
    outcome: Outcome = "pending"
    version: str | None = None
    """Of the version written or found, where the answer told one."""

    holders: tuple[str, ...] = ()
    """Ids of the holders that confirmed a write."""

    wanted: int = 0
    """How many holders the write should have."""

    on_disk: tuple[str, ...] = ()
    """Those of ``holders`` whose disk had it, or a newer version, at the moment of the answer, or was destroyed since
    the write began."""

    seen: tuple[str, ...] = ()
    """The versions that holders told the asked peer of a read."""

    problem: str = ""
    """Why it failed or is unknown."""


@dataclass(slots=True)
class History:
    """All operations, in the order in which they began."""

    operations: list[Operation] = field(default_factory=list)
    final_reads: list[Operation] = field(default_factory=list)
    """Of each key through each running peer, after everything healed and settled."""

    def of_key(self, key: str) -> list[Operation]:
        """Return the operations on one key."""
        return [operation for operation in self.operations if operation.key == key]

    def count(self, outcome: Outcome) -> int:
        """Return how many operations ended so."""
        return sum(operation.outcome == outcome for operation in self.operations)


def stamp_of_version(version: str | None) -> int:
    """Return the stamp that a version's text begins with; equal ones are ordered by what only records tell.

    Raises:
        AssertionError: The text is no version: peers answered nonsense.
    """
    assert version is not None, "an answered write has a version"
    stamp, dash, _ = version.partition("-")
    assert dash and len(stamp) == 16, f"{version!r} is no version"
    return int(stamp, 16)
