"""All messages, in one place. Tags are append-only: a number, once used, never changes its meaning.

Every message is one MessagePack array ``[tag, receiver_boot, ...]``; unknown tags, extra items and values out
of bounds are decoding errors. ``receiver_boot`` is the boot of the receiver as the sender knows it, 0 when it
does not: a message that changes state is ignored by any other boot, so that a replay after a restart does
nothing (DESIGN section 4).

Tags 1 to 31 belong to membership, election, joining and bans; 32 to 63 to the DHT (declared in
``protocol.dht_messages``); 64 and up are free.
"""

from typing import Annotated, ClassVar, Final

import msgspec

from protocol import limits
from protocol.dht_messages import DHT_MESSAGES as DHT_MESSAGES
from protocol.message import BucketDigests, Sequence
from protocol.message import Message as Message
from protocol.message import Refusal as Refusal
from protocol.message import Reply as Reply
from protocol.message import ReplyTooLarge as ReplyTooLarge
from protocol.message import Request as Request
from protocol.statements import (
    Ballot,
    Ban,
    Bytes32,
    Certificate,
    Counter,
    Descriptor,
    Release,
    Vote,
    VoterList,
)

Updates = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(max_length=limits.EVIDENCE_SIZE_MAX_BYTES)], ...],
    msgspec.Meta(max_length=limits.UPDATES_PER_MESSAGE_MAX),
]
"""Encoded evidence (see ``protocol.codec.decode_evidence``), most urgent first, within the byte budget."""


class LeaderClaim(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Whom the sender follows; piggybacked so that news of a leader reaches everybody within a few probes."""

    ballot: Ballot
    followers: Annotated[int, msgspec.Meta(ge=0, le=limits.MEMBERS_MAX)]
    """How many live members followed this leader when the sender last knew: the size of its side of a cut."""


# Membership (SWIM 2002; Lifeguard 2017)


class Ping(Message, frozen=True, kw_only=True, tag=1):
    """Ask a peer to answer at once (SWIM 2002, section 3.1)."""

    changes_state: ClassVar[bool] = False

    sequence: Sequence
    updates: Updates = ()
    claim: LeaderClaim | None = None


class Ack(Message, frozen=True, kw_only=True, tag=2):
    """Answer to a ping, or, relayed, to an indirect one."""

    changes_state: ClassVar[bool] = False

    sequence: Sequence
    """The ping's."""

    wall_ms: Counter
    """The sender's own wall clock when it answered, in milliseconds since 1970 (``protocol.network_time``)."""

    updates: Updates = ()
    claim: LeaderClaim | None = None


class PingRequest(Message, frozen=True, kw_only=True, tag=3):
    """Ask a third peer to ping ``target`` and to relay its ack (SWIM 2002, section 3.1)."""

    changes_state: ClassVar[bool] = False

    sequence: Sequence
    target: Bytes32


class IndirectAck(Message, frozen=True, kw_only=True, tag=4):
    """The helper's relay: the target answered. ``reached`` false is Lifeguard's nack: I live, it did not answer."""

    changes_state: ClassVar[bool] = False

    sequence: Sequence
    target: Bytes32
    reached: bool


class Gossip(Message, frozen=True, kw_only=True, tag=5):
    """Evidence sent for its own sake: verdicts, introductions, answers to ``Sync``."""

    updates: Updates


class Sync(Message, frozen=True, kw_only=True, tag=6):
    """Anti-entropy: digests of sixteen buckets of the member table; who differs answers with the evidence.

    A digest is a count, two bytes, and the XOR of as many marks, six bytes (``protocol.members.digests``).
    """

    buckets: BucketDigests
    is_reply: bool = False
    """A reply is not answered with another ``Sync``, which bounds an exchange to one round trip."""


class BootNotice(Message, frozen=True, kw_only=True, tag=7):
    """Answer to a message for another boot: this is my boot, send it again if it still matters.

    Believed only by the boot that it is addressed to: whoever sent that message.
    """

    changes_state: ClassVar[bool] = False  # so that it is never answered with another

    descriptor: Descriptor


class WhoAreYou(Message, frozen=True, kw_only=True, tag=8):
    """Answer to a sealed message of a sender that is not in the table: introduce yourself."""

    changes_state: ClassVar[bool] = False


# Joining


class JoinRequest(Message, frozen=True, kw_only=True, tag=10):
    """A newcomer introduces itself to any peer (discovery: the receiver id may be unknown).

    It cannot know the boot of whom it asks for the first time: a ``BootNotice`` tells it, and it asks again. So a
    recorded introduction brings nobody back into the table of a peer that restarted.
    """

    descriptor: Descriptor
    nonce: Counter
    """Random; the reply repeats it."""


class JoinReply(Message, frozen=True, kw_only=True, tag=11):
    """Welcome: who I am, which network time it is, who leads, how many we are; ``Sync`` then brings the members."""

    changes_state: ClassVar[bool] = False  # bound to the request by its nonce

    descriptor: Descriptor
    nonce: Counter
    network_time_ms: Counter
    members: Annotated[int, msgspec.Meta(ge=0, le=limits.MEMBERS_MAX)]
    claim: LeaderClaim | None = None


class JoinForward(Message, frozen=True, kw_only=True, tag=12):
    """A peer hands a newcomer to the leader, who introduces it to everybody."""

    descriptor: Descriptor


# Election


class PreVoteRequest(Message, frozen=True, kw_only=True, tag=16):
    """Would you vote for me? Changes nothing (Raft 2014 thesis, section 9.6)."""

    changes_state: ClassVar[bool] = False

    ballot: Ballot
    council: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=limits.COUNCIL_SIZE_MAX)]
    is_merge: bool = False
    """The candidate knows of a living leader: it renews its own certificate or unites two sides."""


class PreVoteReply(Message, frozen=True, kw_only=True, tag=17):
    """Answer to ``PreVoteRequest``; ``highest`` is the highest ballot the sender stored."""

    changes_state: ClassVar[bool] = False

    ballot: Ballot
    granted: bool
    highest: Ballot


class VoteRequest(Message, frozen=True, kw_only=True, tag=18):
    """Vote for me, for this ballot, in this council."""

    ballot: Ballot
    council: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=limits.COUNCIL_SIZE_MAX)]
    is_merge: bool = False
    release: Release | None = None
    """The old leader's signed release, in a planned handover."""


class VoteReply(Message, frozen=True, kw_only=True, tag=19):
    """A signed vote, or none with the highest ballot the sender stored."""

    ballot: Ballot
    highest: Ballot
    vote: Vote | None = None


class Heartbeat(Message, frozen=True, kw_only=True, tag=20):
    """The leader holds its lease: to the council only."""

    ballot: Ballot
    sequence: Sequence
    followers: Annotated[int, msgspec.Meta(ge=0, le=limits.MEMBERS_MAX)]


class HeartbeatAck(Message, frozen=True, kw_only=True, tag=21):
    """A council member accepted the heartbeat; ``highest`` tells a deposed leader."""

    ballot: Ballot
    sequence: Sequence
    highest: Ballot


class Announce(Message, frozen=True, kw_only=True, tag=22):
    """The proof that somebody leads; followed once its signature and council hold."""

    certificate: Certificate
    followers: Annotated[int, msgspec.Meta(ge=0, le=limits.MEMBERS_MAX)]


class CertificateRequest(Message, frozen=True, kw_only=True, tag=23):
    """Show me the certificate of the leader that you claim."""

    changes_state: ClassVar[bool] = False

    ballot: Ballot


class Handover(Message, frozen=True, kw_only=True, tag=24):
    """The leader asks its successor to stand at once (Raft 2014 thesis, section 3.10)."""

    release: Release


class VotersKnown(Message, frozen=True, kw_only=True, tag=25):
    """The list of voters that the sender knows, or none: tell me yours if it is newer (*quorum* mode)."""

    voters: VoterList | None = None


class LeaseEnded(Message, frozen=True, kw_only=True, tag=26):
    """The sender leads no more under this ballot, and nobody else does yet (*quorum* mode)."""

    ballot: Ballot


# Bans


class BansKnown(Message, frozen=True, kw_only=True, tag=27):
    """Which bans the sender knows: a digest of all, and some of them. Who knows others answers with its own."""

    digest: Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
    bans: Annotated[tuple[Ban, ...], msgspec.Meta(max_length=limits.BANS_PER_MESSAGE_MAX)] = ()
    is_reply: bool = False
    """A reply, and news, are not answered."""


MEMBERSHIP_MESSAGES: Final = (Ping, Ack, PingRequest, IndirectAck, Gossip, Sync)
ELECTION_MESSAGES: Final = (
    PreVoteRequest,
    PreVoteReply,
    VoteRequest,
    VoteReply,
    Heartbeat,
    HeartbeatAck,
    Announce,
    CertificateRequest,
    Handover,
    VotersKnown,
    LeaseEnded,
)
CONTROL_MESSAGES: Final[tuple[type[Message], ...]] = (
    *MEMBERSHIP_MESSAGES,
    BootNotice,
    WhoAreYou,
    JoinRequest,
    JoinReply,
    JoinForward,
    *ELECTION_MESSAGES,
    BansKnown,
)
"""Messages that the core handles; all others are requests and replies of the DHT."""

# Between peers on behalf of their users (tags 64 and up)


class HandoverWish(Request, frozen=True, kw_only=True, tag=64):
    """A person asked some peer for another leader; that peer asks the leader."""

    successor: Bytes32 | None = None


class Accepted(Reply, frozen=True, kw_only=True, tag=65):
    """The wish was taken up; its outcome shows elsewhere."""


SERVICE_MESSAGES: Final[tuple[type[Message], ...]] = (HandoverWish, Accepted)
"""Requests and replies that serve people's wishes."""
