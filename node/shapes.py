"""The JSON shapes of the HTTP API and of ``--json`` (DESIGN section 8): one declaration for both.

``id`` is 64 lower-case hexadecimal digits, ``address`` is ``HOST:PORT``, ``api`` is ``http://HOST:PORT``, times
are RFC 3339 in UTC.
"""

import base64
import datetime
from typing import Annotated, Final, Literal

import msgspec

from protocol.effects import MemberState, Role
from protocol.invite_book import InviteState
from protocol.invites import USES_MAX
from protocol.invites import Role as InviteRole

Encoding = Literal["utf-8", "base64"]

_LAST_TIME_MS: Final = 253_402_300_799_999
"""The end of the year 9999, where RFC 3339 ends."""


def text_of_value(value: bytes) -> tuple[str, Encoding]:
    """Return a value as JSON can hold it, and how: as text where it is UTF-8, else as base64."""
    try:
        return value.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(value).decode(), "base64"


def text_of_time(time_ms: int) -> str:
    """Return milliseconds since 1970 as RFC 3339 in UTC; what lies beyond the year 9999 is cut to its end."""
    seconds, milliseconds = divmod(min(time_ms, _LAST_TIME_MS), 1000)
    moment = datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """``GET /v1/health``."""

    alive: bool
    ready: bool


class MemberCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Members by state, the asked peer included."""

    alive: int
    suspect: int
    failed: int
    left: int


class Status(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The asked peer's own view of itself."""

    id: str
    name: str
    network: str
    version: str
    ready: bool
    role: Role
    term: int
    leader: str | None
    """Id of the followed leader."""

    mode: str
    members: MemberCounts
    keys_held: int
    uptime_s: float
    profile: str
    banned: str | None = None
    """Only in a peer that the admin banned: since when nobody hears it."""


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the asked peer's member table."""

    id: str
    name: str
    address: str
    api: str
    state: MemberState
    role: Role
    incarnation: int
    rtt_ms: float | None
    """Smoothed round trip; null for the asked peer itself and before the first answer."""

    since: str


class Leader(msgspec.Struct, frozen=True, kw_only=True):
    """The leader that the asked peer follows; all null when there is none."""

    id: str | None = None
    name: str | None = None
    address: str | None = None
    api: str | None = None
    term: int | None = None
    since: str | None = None


class HandoverOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/leader/handover``; without ``to`` the leader chooses."""

    to: str | None = None


INVITE_EXPIRES_MAX_S: Final = 7 * 86_400
"""The longest life of an invite, a week: it lies in a mailbox meanwhile."""


class InviteOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/invites``."""

    role: InviteRole = "member"
    uses: Annotated[int, msgspec.Meta(ge=1, le=USES_MAX)] = 1
    expires_s: Annotated[int, msgspec.Meta(ge=1, le=INVITE_EXPIRES_MAX_S)] = 900


class InviteMade(msgspec.Struct, frozen=True, kw_only=True):
    """A new invite; its text is told this once."""

    invite: str
    id: str
    role: InviteRole
    uses: int
    expires: str
    issuer: str
    """Id of the peer that lets in who comes with it."""

    addresses: list[str]
    """Where it waits for them."""

    apis: list[str]
    """Where a reader will read; empty for a member."""


class InviteRow(msgspec.Struct, frozen=True, kw_only=True):
    """One invite as its issuer lists it."""

    id: str
    role: InviteRole
    state: InviteState
    uses: int
    used_by: list[str]
    """Ids of those it let in."""

    expires: str
    issuer: str


class BanRow(msgspec.Struct, frozen=True, kw_only=True):
    """What the admin said last about one peer."""

    id: str
    name: str | None
    """None when the asked peer does not know it."""

    state: Literal["banned", "lifted"]
    since: str


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One peer that was asked on behalf of an operation."""

    id: str
    name: str
    answer: str
    """``synced``, ``stale``, ``found``, ``absent``, ``refused: …`` or ``no answer``."""

    version: str | None
    ms: float


class Explain(msgspec.Struct, frozen=True, kw_only=True):
    """Why an answer is what it is."""

    served_by: str
    holders: list[str]
    asked: list[Asked]


class WriteReceipt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Answer to ``put`` and ``delete``."""

    key: str
    version: str
    holders: list[str]
    """Ids of the peers that synced it."""

    wanted: int
    existed: bool
    explain: Explain | None = None


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One key of a listing."""

    key: str
    version: str
    size: int
    expires: str | None


class KeyListing(msgspec.Struct, frozen=True, kw_only=True):
    """``GET /v1/kv?prefix=``: the keys, and whether every member answered."""

    keys: list[KeyEntry]
    complete: bool


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One event of ``watch``."""

    event: Literal["put", "delete"]
    key: str
    value: str | None
    encoding: Encoding | None
    version: str


FaultKind = Literal["cut", "loss", "delay", "duplicate", "reorder"]
FaultDirection = Literal["in", "out", "both"]

PeerIdText = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$", min_length=64, max_length=64)]

FAULT_PEERS_MAX: Final = 900
"""Peers that one fault may name: as many as fit the largest JSON body."""

FAULT_SECONDS_MAX: Final = 3600
FAULT_DELAY_MAX_MS: Final = 60_000


class FaultOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of ``POST /v1/faults``: what goes wrong between the asked peer and others, and for how long."""

    kind: FaultKind
    peers: Annotated[tuple[PeerIdText, ...], msgspec.Meta(min_length=1, max_length=FAULT_PEERS_MAX)] | None = None
    """Ids of the others; without them everybody."""

    direction: FaultDirection = "both"
    """As the asked peer sees it."""

    seconds: Annotated[float, msgspec.Meta(gt=0, le=FAULT_SECONDS_MAX)] = 60.0
    """Then it ends by itself."""

    probability: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    """Share of what flows that is hit: needed for ``loss``, ``duplicate`` and ``reorder``, and only for them."""

    ms: Annotated[float, msgspec.Meta(gt=0, le=FAULT_DELAY_MAX_MS)] | None = None
    """Delay of everything, one way: needed for ``delay``, and only for it."""

    jitter_ms: Annotated[float, msgspec.Meta(ge=0, le=FAULT_DELAY_MAX_MS)] | None = None
    """Mean of a random delay on top; only for ``delay``."""

    def __post_init__(self) -> None:
        """Check what depends on the kind; msgspec makes its own error of this one."""
        for name, value, kinds, is_needed in (
            ("probability", self.probability, ("loss", "duplicate", "reorder"), True),
            ("ms", self.ms, ("delay",), True),
            ("jitter_ms", self.jitter_ms, ("delay",), False),
        ):
            if value is not None and self.kind not in kinds:
                raise ValueError(f"`{name}` means nothing for the kind `{self.kind}`")
            if value is None and self.kind in kinds and is_needed:
                raise ValueError(f"the kind `{self.kind}` needs `{name}`")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One active fault of the asked peer; fields that its kind does not have are null."""

    id: str
    kind: FaultKind
    peers: list[str] | None
    direction: FaultDirection
    probability: float | None
    ms: float | None
    jitter_ms: float | None
    expires_in_s: float


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document (RFC 9457); ``next_step``, ``current_version`` and ``exit`` are ours."""

    type: str
    """One of ``node.errors.PROBLEM_TYPES``, bare: a relative URI reference that nobody needs to resolve."""

    title: str
    status: int
    detail: str
    next_step: str = ""
    current_version: str | None = None
    """The stored version, with ``version-mismatch``."""

    exit: int | None = None
