"""The one door in and the one list out of the core: inputs, effects and events.

Inputs tell the core what happened, in the past tense. Effects tell the shell what to do; they are carried out
in list order, and a ``Persist`` has reached the disk before any later ``Send`` of the same list leaves. Events
tell the application what changed.
"""

from typing import Literal, TypeAlias

import msgspec

from protocol.ids import PeerId, ShortId
from protocol.messages import Message
from protocol.statements import Address, Ballot, Ban, Certificate, Descriptor, VoterList

MemberState: TypeAlias = Literal["alive", "suspect", "failed", "left"]
Role: TypeAlias = Literal["follower", "candidate", "leader"]


class Promise(msgspec.Struct, frozen=True):
    """What a voter must never forget: the file ``vote`` holds it (DESIGN section 6)."""

    voted: Ballot
    """The highest ballot this peer ever signed; term 0 means none."""

    council_hash: bytes
    """The council named in that vote, 16 bytes."""

    highest: Ballot
    """The highest ballot whose certificate this peer accepted."""

    lost_in: int = 0
    """Boot in which an earlier promise was found lost, until the admin readmits this voter (*quorum* mode); else 0."""


# Inputs


class Received(msgspec.Struct, frozen=True):
    """A datagram was opened: its envelope proved the network key and the sender's claim on ``sender_boot``."""

    message: Message
    source: Address
    sender: ShortId
    sender_boot: int


class ContactsFound(msgspec.Struct, frozen=True):
    """Somebody told us addresses: seeds, zeroconf, an invite."""

    contacts: tuple[Address, ...]

    are_hints: bool = False
    """Whether anybody on the local network may have said so, as with zeroconf."""


class LinkLost(msgspec.Struct, frozen=True):
    """A TCP link to a peer ended. Not yet a verdict: it starts a burst of probes."""

    peer_id: PeerId


class ConnectionRefused(msgspec.Struct, frozen=True):
    """The operating system at a peer's address says that nobody listens there."""

    peer_id: PeerId
    boot: int


class HandoverAsked(msgspec.Struct, frozen=True):
    """A person asks the leader to hand over, to ``successor`` or to whom it thinks best."""

    successor: PeerId | None = None


class AddressChanged(msgspec.Struct, frozen=True):
    """This machine has another address now, as a laptop has after it was carried elsewhere."""

    address: Address
    api: Address


class BanGiven(msgspec.Struct, frozen=True):
    """The admin bans a peer, or lifts a ban, at this peer."""

    ban: Ban


class LeaveAsked(msgspec.Struct, frozen=True):
    """This peer will stop: tell the others."""


class Woken(msgspec.Struct, frozen=True):
    """The time that ``next_deadline`` named has come (or passed: the core measures by how much)."""


class WallClockRead(msgspec.Struct, frozen=True):
    """The shell read the wall clock again: somebody may have set it."""

    wall_ms: int


Input: TypeAlias = (
    Received
    | ContactsFound
    | WallClockRead
    | LinkLost
    | ConnectionRefused
    | HandoverAsked
    | BanGiven
    | AddressChanged
    | LeaveAsked
    | Woken
)


# Effects of the core, carried out by the shell


class Send(msgspec.Struct, frozen=True):
    """Seal and send one datagram."""

    message: Message
    address: Address
    receiver: ShortId
    """``ids.ANY_RECEIVER`` when only the address is known."""


class Persist(msgspec.Struct, frozen=True):
    """Write the promise to disk and sync it before any later effect of the list."""

    promise: Promise


class KeepVoters(msgspec.Struct, frozen=True):
    """Write the list of voters to disk and sync it before any later effect of the list."""

    voters: VoterList


class KeepBans(msgspec.Struct, frozen=True):
    """Write the bans to disk and sync them before any later effect of the list; replaces those written before."""

    bans: tuple[Ban, ...]


class KeepLinks(msgspec.Struct, frozen=True):
    """Hold a TCP link to exactly these peers; replaces the earlier set."""

    peers: tuple[Descriptor, ...]


class TryConnection(msgspec.Struct, frozen=True):
    """Open and close a TCP connection to learn whether it is refused (answered with ``ConnectionRefused``)."""

    peer: Descriptor


class Report(msgspec.Struct, frozen=True):
    """Tell the application."""

    event: "Event"


# Effects of one machine, which the core turns into ``Send``


class Tell(msgspec.Struct, frozen=True):
    """Send ``message`` to a member; the core fills in its address and its boot."""

    peer_id: PeerId
    message: Message


class TellAddress(msgspec.Struct, frozen=True):
    """Send ``message`` to whoever answers at ``address``; ``receiver`` when its id is known."""

    address: Address
    message: Message
    receiver: ShortId


class TimeSample(msgspec.Struct, frozen=True):
    """An ack told the wall clock of a member; for the core's network time."""

    peer_id: PeerId
    wall_ms: int
    round_trip_s: float


Effect: TypeAlias = Send | Persist | KeepVoters | KeepBans | KeepLinks | TryConnection | Report
MachineEffect: TypeAlias = Tell | TellAddress | Persist | KeepVoters | KeepBans | TryConnection | Report | TimeSample


# Events


class MemberChanged(msgspec.Struct, frozen=True):
    """A member is new, or its state or its description changed."""

    descriptor: Descriptor
    state: MemberState
    previous: MemberState | None
    """None for a member that was not in the table."""


class LeaderChanged(msgspec.Struct, frozen=True):
    """This peer follows another leader now, or none."""

    certificate: Certificate | None

    @property
    def leader(self) -> PeerId | None:
        """Who leads."""
        return self.certificate.ballot.peer_id if self.certificate else None


class RoleChanged(msgspec.Struct, frozen=True):
    """This peer's own part in the election changed."""

    role: Role
    term: int


class BanChanged(msgspec.Struct, frozen=True):
    """The admin banned a peer, or lifted that; it may be this one."""

    ban: Ban


class BecameReady(msgspec.Struct, frozen=True):
    """Another peer was met, or the time to wait for one passed."""


class Alarm(msgspec.Struct, frozen=True):
    """Something that an operator should know: a hostile term, a clock far off."""

    text: str


Event: TypeAlias = MemberChanged | LeaderChanged | RoleChanged | BanChanged | BecameReady | Alarm


class Electorate(msgspec.Struct, frozen=True):
    """What the election sees of the membership: replaced as a whole whenever the table changes."""

    living: tuple[PeerId, ...]
    """Alive and suspect members, the local peer included, ascending by id."""

    suspects: tuple[PeerId, ...]
    """Those of ``living`` that are accused; they stay in the council but should not be handed the lead."""

    ready: bool
    """Whether joining is over; before that a peer neither stands nor votes."""
