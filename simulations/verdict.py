"""What a run came to: named checks, figures, and the command that repeats it (DESIGN section 8)."""

from typing import Literal

import msgspec


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that must hold."""

    name: str
    ok: bool
    detail: str
    """What was counted, or the first violation with its time and peers."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The JSON document of ``pair simulate``."""

    scenario: str
    nodes: int
    seed: int
    verdict: Literal["PASS", "FAIL"]
    checks: tuple[Check, ...]
    figures: dict[str, float]
    trace_sha256: str | None
    """None for a live run, which has no trace that could be repeated."""

    replay: str
    """The command that repeats the run."""

    not_judged: tuple[str, ...] = ()
    """Checks that this run says nothing about: a live one of what only a simulation sees, one that was cut short of the
    end."""
