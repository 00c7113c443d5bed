"""Faults as data: what goes wrong, where and when. A schedule of them can be printed, replayed and shrunk.

A target names peers: ``peer-3``, ``leader`` (whom most follow at that moment), ``random`` (drawn from the seed when the
schedule is made, or at that moment in a file), or ``all``. Faults with ``for_s`` end by themselves.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal, TypeAlias

import msgspec

Target: TypeAlias = Annotated[str, msgspec.Meta(pattern=r"^(peer-[1-9][0-9]*|leader|random|all)\Z")]
Seconds: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
Names: TypeAlias = tuple[Annotated[str, msgspec.Meta(pattern=r"^peer-[1-9][0-9]*\Z")], ...]


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="do"):
    """Base of all faults."""

    is_live: ClassVar[bool] = True
    """Whether it can be done to real processes too."""

    at_s: Seconds
    """When, in seconds since the start of the scenario."""


class Kill(Fault, frozen=True, kw_only=True, tag="kill"):
    """End a process as SIGKILL does."""

    target: Target


class PowerCut(Fault, frozen=True, kw_only=True, tag="power-cut"):
    """Take the power of a host: its connections stay half open, what was not synced is lost.

    Of real peers the processes are killed: what a real disk has not synced is not lost by that.
    """

    target: Target


class Stop(Fault, frozen=True, kw_only=True, tag="stop"):
    """Ask a peer to end in good order."""

    target: Target


class Start(Fault, frozen=True, kw_only=True, tag="start"):
    """Start a peer that does not run; ``all`` starts every one."""

    target: Target


class Pause(Fault, frozen=True, kw_only=True, tag="pause"):
    """Freeze a process as SIGSTOP does, and let it go on later."""

    target: Target
    for_s: Seconds


class Partition(Fault, frozen=True, kw_only=True, tag="partition"):
    """Cut every pair of peers that share no group. A peer in two groups is a bridge; one in none is alone."""

    groups: tuple[Names, ...]
    for_s: Seconds


class OneWayCut(Fault, frozen=True, kw_only=True, tag="one-way-cut"):
    """Let nothing through from some peers to others; the way back stays."""

    sources: Names
    targets: Names
    for_s: Seconds


class Links(Fault, frozen=True, kw_only=True, tag="links"):
    """Make links worse: those of the named peers, or all when none is named."""

    peers: Names = ()
    delay_s: Seconds = 0.0
    """Added to each link, one way."""

    jitter_s: Seconds = 0.0
    loss: Share = 0.0
    duplication: Share = 0.0
    reordering: Share = 0.0
    bandwidth_bytes_per_s: float = float("inf")
    for_s: Seconds


class ClockJump(Fault, frozen=True, kw_only=True, tag="clock-jump"):
    """Set a host's wall clock forward, or back."""

    is_live: ClassVar[bool] = False

    target: Target
    by_s: float


class ClockRate(Fault, frozen=True, kw_only=True, tag="clock-rate"):
    """Let a host's clocks run fast or slow, from now on."""

    is_live: ClassVar[bool] = False

    target: Target
    rate: Annotated[float, msgspec.Meta(ge=0.5, le=2.0)]


class DiskSlow(Fault, frozen=True, kw_only=True, tag="disk-slow"):
    """Let each sync of a disk take so long."""

    is_live: ClassVar[bool] = False

    target: Target
    sync_s: Seconds
    for_s: Seconds


class DiskFull(Fault, frozen=True, kw_only=True, tag="disk-full"):
    """Let nothing more fit on a disk."""

    is_live: ClassVar[bool] = False

    target: Target
    for_s: Seconds


class DiskLost(Fault, frozen=True, kw_only=True, tag="disk-lost"):
    """End a process and replace its disk with an empty one; only the peer's key is kept."""

    is_live: ClassVar[bool] = False

    target: Target


class Elect(Fault, frozen=True, kw_only=True, tag="elect"):
    """Ask a peer for another leader, as ``pair elect`` does: no fault, but a change that faults may meet."""

    is_live: ClassVar[bool] = False

    target: Target


Lie: TypeAlias = Literal["forged-members", "stale-records", "inflated-terms", "forged-certificates", "replays"]


class Hostile(Fault, frozen=True, kw_only=True, tag="hostile"):
    """Let a further member, which holds the network key, lie for a while."""

    is_live: ClassVar[bool] = False

    lies: tuple[Lie, ...]
    for_s: Seconds


AnyFault: TypeAlias = (
    Kill
    | PowerCut
    | Stop
    | Start
    | Pause
    | Partition
    | OneWayCut
    | Links
    | ClockJump
    | ClockRate
    | DiskSlow
    | DiskFull
    | DiskLost
    | Elect
    | Hostile
)


def ends_at(fault: AnyFault) -> float:
    """Return when the fault itself is over, in seconds since the start of the scenario."""
    return fault.at_s + float(getattr(fault, "for_s", 0.0))


def describe(fault: AnyFault, targets: Sequence[str] = ()) -> str:
    """Return one line for people: what is done, to whom, how strongly."""
    facts = msgspec.structs.asdict(fault)
    words = [str(type(fault).__struct_config__.tag)]
    match fault:
        case Partition(groups=groups):
            words.append(" | ".join(",".join(_short(name) for name in group) for group in groups))
        case OneWayCut(sources=sources, targets=blocked):
            words.append(f"{','.join(map(_short, sources))} -> {','.join(map(_short, blocked))}")
        case Links(peers=peers):
            words.append(",".join(map(_short, peers)) or "all")
        case _ if "target" in facts:
            words.append(", ".join(targets) if targets else f"{facts['target']} (nobody)")
        case _:
            words.append(", ".join(facts["lies"]))
    defaults = dict(zip(type(fault).__struct_fields__[::-1], type(fault).__struct_defaults__[::-1], strict=False))
    words += [
        f"{name.removesuffix('_s')} {value:g}"
        for name, value in facts.items()
        if isinstance(value, float) and name not in ("at_s", "for_s") and value != defaults.get(name)
    ]
    return " ".join(words)


def _short(name: str) -> str:
    return name.removeprefix("peer-")
