"""What ``doctor`` found out, one thing at a time."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from protocol.errors import EnvironmentFault

FindingState: TypeAlias = Literal["ok", "warning", "broken"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check."""

    name: str
    state: FindingState
    detail: str
    next_step: str = ""
    """What to do about it; empty when it is ok."""

    def document(self) -> dict[str, Any]:
        """Return the JSON shape."""
        return {"name": self.name, "state": self.state, "detail": self.detail, "next_step": self.next_step}


def broken_by(name: str, fault: EnvironmentFault) -> Finding:
    """Return the finding for a check that ``fault`` ended."""
    return Finding(name, "broken", fault.cause, fault.next_step)
