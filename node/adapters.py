"""What a peer reaches its machine through, beside the event loop: its disk and the discovery of the local network.

The program brings the real ones; the simulator brings its own, and runs everything else as it ships.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from bootstrap.discovery import Discovery
from node.config import PeerConfig
from node.ports import RecordStore
from protocol.effects import Event, Promise
from protocol.identity import Identity, Verifier
from protocol.invite_book import IssuedInvite
from protocol.statements import Address, Ban, Descriptor, VoterList


class VoteKeeper(Protocol):
    """Keeps what a voter must never forget."""

    def save(self, promise: Promise) -> None:
        """Return once ``promise`` is durable.

        Raises:
            StoreError: It is not; the peer must not go on.
        """


class Disk(Protocol):
    """Everything that one peer keeps, opened for one run."""

    @property
    def identity(self) -> Identity:
        """The peer's key pair."""

    @property
    def boot(self) -> int:
        """Number of this run; above those of all earlier ones, and durable."""

    @property
    def promise(self) -> Promise | None:
        """What the vote file holds; None on a fresh peer."""

    @property
    def may_vote(self) -> bool:
        """False after the vote file was lost or damaged."""

    @property
    def votes(self) -> VoteKeeper:
        """Where promises go."""

    @property
    def voters(self) -> Sequence[VoterList]:
        """The lists of voters that were kept, in the *quorum* mode; nothing of them is checked yet."""

    def keep_voters(self, voters: VoterList) -> None:
        """Return once ``voters`` is durable.

        Raises:
            StoreError: It is not; the peer must not go on.
        """

    @property
    def bans(self) -> Sequence[Ban]:
        """The bans that were kept; nothing of them is checked yet."""

    def keep_bans(self, bans: Sequence[Ban]) -> None:
        """Return once ``bans``, instead of those kept before, are durable.

        Raises:
            StoreError: They are not; the peer must not go on.
        """

    def admin(self) -> Identity:
        """Return the admin's key pair, where this machine has it; read each time, never kept in memory.

        Raises:
            ConfigError, StoreError: It is not here, not private or damaged.
        """

    @property
    def invites(self) -> Sequence[IssuedInvite]:
        """The invites that this peer issued."""

    def keep_invites(self, invites: Sequence[IssuedInvite]) -> None:
        """Return once ``invites``, instead of those kept before, are durable.

        Raises:
            StoreError: They are not: nobody must be let in.
        """

    def apis_here(self) -> Sequence[str]:
        """Return where the read token of ``tokens`` is good just now: the APIs of the peers of this folder."""

    @property
    def remembered(self) -> Sequence[Descriptor]:
        """The members of the last run."""

    @property
    def tokens(self) -> Mapping[str, str]:
        """Bearer token of each level of the API."""

    @property
    def records(self) -> RecordStore:
        """What the peer holds for others."""

    def remember(self, living: Sequence[Descriptor]) -> None:
        """Keep the members for the next start; soon is enough."""

    def begin_run(self, *, address: str, api: str) -> None:
        """Tell other programs that the peer runs, and where."""


def ignore(event: Event) -> None:
    """Observe nothing."""


def stay(current: str, contacts: Sequence[Address]) -> str:
    """Return the address that the machine had before."""
    return current


@dataclass(frozen=True, kw_only=True, slots=True)
class Adapters:
    """One peer's way to its machine."""

    open_disk: Callable[[PeerConfig], AbstractAsyncContextManager[Disk]]
    """Opens the disk for one run; may raise ``EnvironmentFault``."""

    make_discovery: Callable[[PeerConfig, Disk], Discovery]
    make_verifier: Callable[[], Verifier]
    """Checks signatures; simulated peers share one, since a thousand of them would check a million equal ones."""

    present_address: Callable[[str, Sequence[Address]], str] = stay
    """Returns the address that this machine has now, given the one that it had and whom it is to reach."""

    observe: Callable[[Event], None] = ignore
    """Hears what the core reports, before anybody else."""
