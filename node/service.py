"""What a peer does for its users: the API calls this, and the peer implements it."""

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from node.shapes import (
    BanRow,
    Explain,
    Health,
    InviteMade,
    InviteRow,
    KeyListing,
    Leader,
    Member,
    Status,
    WriteReceipt,
)
from protocol.invites import Role
from protocol.records import Record


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a read found: never an expired record nor a tombstone."""

    record: Record
    explain: Explain


@dataclass(frozen=True, slots=True)
class WatchedChange:
    """A new version seen by a watch."""

    record: Record
    cursor: str
    """Resuming after this repeats everything later, and perhaps a little before: at least once."""


@dataclass(frozen=True, slots=True)
class PeerEvent:
    """One event of ``GET /v1/events``."""

    kind: str
    """``member``, ``leader``, ``role``, ``record`` or ``alarm``."""

    body: Mapping[str, Any]


class InviteService(Protocol):
    """The invites of one peer. Each method may raise ``node.errors.OperationError``, and nothing else."""

    def create(self, *, role: Role, uses: int, expires_s: int) -> InviteMade:
        """Issue an invite."""

    def listing(self) -> list[InviteRow]:
        """Return the invites that have not expired, oldest first."""

    def revoke(self, prefix: str) -> InviteRow:
        """Let nobody in any more with the invite whose id starts with ``prefix``."""


class BanService(Protocol):
    """The bans of the network. Each method may raise ``node.errors.OperationError``, and nothing else."""

    def listing(self) -> list[BanRow]:
        """Return who is banned."""

    def ban(self, who: str) -> BanRow:
        """Ban a peer: a member by name, id or start of its id, anybody else by the whole id."""

    def lift(self, who: str) -> BanRow:
        """Let a banned peer be a member again."""


class PeerService(Protocol):
    """Everything the API offers. Each method may raise ``node.errors.OperationError``, and nothing else."""

    @property
    def invites(self) -> InviteService: ...

    @property
    def bans(self) -> BanService: ...

    def health(self) -> Health: ...

    def status(self) -> Status: ...

    def members(self) -> list[Member]: ...

    def leader(self) -> Leader: ...

    async def hand_over(self, to: str | None) -> Leader:
        """Ask the leader to hand over to the member named ``to`` (id, id prefix or name); return the new leader."""

    async def put(
        self, key: str, value: bytes, *, ttl_s: float | None, if_version: str | None, timeout_s: float
    ) -> WriteReceipt:
        """Write; ``if_version`` is a version or ``none`` for "must be absent"."""

    async def get(self, key: str, *, quorum: bool, timeout_s: float) -> ReadResult:
        """Read; raises ``not-found``."""

    async def delete(self, key: str, *, if_version: str | None, timeout_s: float) -> WriteReceipt: ...

    async def keys(self, prefix: str, *, timeout_s: float) -> KeyListing: ...

    def watch(self, prefix: str, *, exact: bool, since: str | None) -> AsyncGenerator[WatchedChange, None]:
        """Follow changes of one key (``exact``) or of all below a prefix, until closed (``aclose``)."""

    def events(self) -> AsyncGenerator[PeerEvent, None]:
        """Follow members, leader and records, until closed (``aclose``)."""
