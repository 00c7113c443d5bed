"""A scenario as data: how many peers, what is asked of them, what goes wrong, and what must hold in the end.

The catalogue makes one from a seed; a person writes one as a TOML file with the same fields.
"""

from typing import Annotated, TypeAlias

import msgspec

from protocol.config import Profile
from simulations.faults import AnyFault

NODES_MAX = 10_000

Nodes: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=NODES_MAX)]
Duration: TypeAlias = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class Workload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What clients ask while faults happen."""

    clients: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 4
    """Each asks one thing at a time, of a peer that it draws anew each time."""

    operations_per_s: Annotated[float, msgspec.Meta(gt=0, le=10_000)] = 20.0
    """Of all clients together."""

    keys: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 20
    value_bytes: Annotated[int, msgspec.Meta(ge=0, le=2**20)] = 64
    deletes: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    """Share of writes that delete."""

    expiring: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.05
    """Share of writes with a ``--ttl``."""

    reads: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    """Share of operations that read."""


class Expectations(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a scenario promises beside what must always hold."""

    ok_share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.0
    """Least share of operations that end well."""

    elections_max: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Most times that a peer becomes leader."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that a run depends on, beside its seed."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=63)]
    summary: str = ""
    nodes: Nodes = 15
    k: Annotated[int, msgspec.Meta(ge=1, le=32)] = 8
    profile: Profile = "local"
    voters: Annotated[int, msgspec.Meta(ge=0, le=7)] = 0
    """Fixed voters, the first peers, of a network in *quorum* mode; 0: a network in *available* mode."""

    zeroconf: bool = True
    """Whether peers hear each other's announcements on the network; without, they know seeds and remembered members."""

    duration_s: Duration = 60.0
    """Time of workload and faults; healing and the last checks come after."""

    start_over_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.5
    """Peers start spread over so long."""

    begin_with: Nodes | None = None
    """So many peers start by themselves, in order of their names; the others wait for a ``start`` fault. None: all."""

    settle_s: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 20.0
    """Time after the end of all faults within which everything must be well again; less is used when it suffices."""

    workload: Workload = Workload()
    expect: Expectations = Expectations()
    faults: tuple[AnyFault, ...] = ()
