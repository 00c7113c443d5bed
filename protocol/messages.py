"""All messages, in one place. Tags are append-only: a number, once used, never changes its meaning.

Every message is one MessagePack array ``[tag, receiver_boot, ...]``; unknown tags, extra items and values out
of bounds are decoding errors. ``receiver_boot`` is the boot of the receiver as the sender knows it, 0 when it
does not: a message that changes state is ignored by any other boot, so that a replay after a restart does
nothing (DESIGN section 4).

Tags 1 to 31 belong to membership, election and joining; 32 to 63 to the DHT; 64 and up are free.
"""

from typing import Annotated, ClassVar, Final, Literal

import msgspec

from protocol import limits
from protocol.records import Head, Record
from protocol.statements import (
    Ballot,
    Boot,
    Bytes32,
    Certificate,
    Counter,
    Descriptor,
    Release,
    Vote,
)

Updates = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(max_length=limits.EVIDENCE_SIZE_MAX_BYTES)], ...],
    msgspec.Meta(max_length=limits.UPDATES_PER_MESSAGE_MAX),
]
"""Encoded evidence (see ``protocol.codec.encode_evidence``), most urgent first, within the byte budget."""

Sequence = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
BucketDigests = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)], ...], msgspec.Meta(min_length=16, max_length=16)
]


class Message(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True, tag_field="tag"
):
    """Base of all messages."""

    changes_state: ClassVar[bool] = True
    """Whether the receiver must check ``receiver_boot`` before it acts."""

    receiver_boot: Boot = 0


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
    """Anti-entropy: digests of sixteen buckets of the member table; who differs answers with the evidence."""

    buckets: BucketDigests
    is_reply: bool = False
    """A reply is not answered with another ``Sync``, which bounds an exchange to one round trip."""


class BootNotice(Message, frozen=True, kw_only=True, tag=7):
    """Answer to a message for another boot: this is my boot, send it again if it still matters."""

    changes_state: ClassVar[bool] = False

    descriptor: Descriptor


class WhoAreYou(Message, frozen=True, kw_only=True, tag=8):
    """Answer to a sealed message of a sender that is not in the table: introduce yourself."""

    changes_state: ClassVar[bool] = False


# Joining


class JoinRequest(Message, frozen=True, kw_only=True, tag=10):
    """A newcomer introduces itself to any peer (discovery: the receiver id may be unknown)."""

    changes_state: ClassVar[bool] = False  # the newcomer cannot know any boot; the descriptor is signed and ordered

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
    """A peer hands a newcomer to the leader, who sends it the member table and introduces it to everybody."""

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


CONTROL_MESSAGES: Final[tuple[type[Message], ...]] = (
    Ping,
    Ack,
    PingRequest,
    IndirectAck,
    Gossip,
    Sync,
    BootNotice,
    WhoAreYou,
    JoinRequest,
    JoinReply,
    JoinForward,
    PreVoteRequest,
    PreVoteReply,
    VoteRequest,
    VoteReply,
    Heartbeat,
    HeartbeatAck,
    Announce,
    CertificateRequest,
    Handover,
)
"""Messages that the core handles; all others are requests and replies of the DHT."""

# The DHT (tags 32 to 63)


class Request(Message, frozen=True, kw_only=True):
    """Base of requests; each is answered by one reply with the same number, by datagram or over TCP."""

    request_id: Sequence = 0
    """Random 63 bits, set by whoever sends; a reply must also come from the peer that was asked."""


class Reply(Message, frozen=True, kw_only=True):
    """Base of replies. A reply changes nothing by itself: it is bound to a request by its number."""

    changes_state: ClassVar[bool] = False

    request_id: Sequence = 0


class ReplyTooLarge(Reply, frozen=True, kw_only=True, tag=32):
    """The answer fits no datagram: ask again over TCP."""


class Refusal(Reply, frozen=True, kw_only=True, tag=33):
    """The request was understood and refused, or its handling failed."""

    reason: Annotated[str, msgspec.Meta(max_length=200)]


class FindNode(Request, frozen=True, kw_only=True, tag=56):
    """Which members are nearest to ``target``? One step of an iterative lookup (Kademlia 2002, section 2.3)."""

    changes_state: ClassVar[bool] = False

    target: Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]
    count: Annotated[int, msgspec.Meta(ge=1, le=limits.HOLDERS_MAX)]


class FoundNodes(Reply, frozen=True, kw_only=True, tag=57):
    """The nearest members that the sender knows, nearest first, as many as fit one datagram."""

    contacts: Annotated[tuple[Descriptor, ...], msgspec.Meta(max_length=limits.HOLDERS_MAX)]


Place = Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]
"""A key's place in the Kademlia space."""

View = Annotated[bytes, msgspec.Meta(max_length=4)]
"""What the sender believes to be the holders, hashed (``protocol.placement.view_of``): a record of 1 KiB and the
ids of its holders would not fit one datagram together."""

HolderIds = Annotated[tuple[Bytes32, ...], msgspec.Meta(max_length=limits.HOLDERS_MAX)]
"""The holders as the answering peer sees them, closest first; empty where it agrees with the view that was sent."""

StoreOutcome = Literal["synced", "stale", "refused"]
RefusalReason = Literal[
    "", "invalid", "foreign-key", "wrong-writer", "stamp", "quota-exceeded", "disk-full", "store-failed"
]
"""Why a holder did not take a record. ``foreign-key``: it belongs to another peer; ``stamp``: too far in the future."""


class Store(Request, frozen=True, kw_only=True, tag=34):
    """Keep these versions: one new version from its writer, or replicas moved between holders."""

    records: Annotated[tuple[Record, ...], msgspec.Meta(min_length=1, max_length=limits.STORE_RECORDS_MAX)]
    places: Annotated[tuple[Place, ...], msgspec.Meta(max_length=limits.STORE_RECORDS_MAX)] = ()
    """Where each record belongs, in order; empty where the keys tell it (always, but in open networks)."""

    view: View = b""
    """Empty says that these are replicas."""


class RecordOutcome(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What became of one record of a ``Store``."""

    outcome: StoreOutcome
    existed: bool = False
    """Whether a live value was there before."""

    reason: RefusalReason = ""
    newer: Head | None = None
    """With ``stale``: the version that the holder has instead."""


class Stored(Reply, frozen=True, kw_only=True, tag=35):
    """Answer to ``Store``, once all that says ``synced`` is on disk."""

    outcomes: Annotated[tuple[RecordOutcome, ...], msgspec.Meta(max_length=limits.STORE_RECORDS_MAX)]
    holders: HolderIds = ()


class Fetch(Request, frozen=True, kw_only=True, tag=36):
    """Which version of this key do you have?"""

    changes_state: ClassVar[bool] = False

    place: Place
    view: View = b""


class Fetched(Reply, frozen=True, kw_only=True, tag=37):
    """The version that the answering peer has, tombstones and expired ones included; None: it knows of none."""

    record: Record | None = None
    holders: HolderIds = ()


class Compare(Request, frozen=True, kw_only=True, tag=38):
    """Do we hold the same versions of all records that both of us should hold?"""

    buckets: BucketDigests
    collected_before: Counter


class Compared(Reply, frozen=True, kw_only=True, tag=39):
    """Answer to ``Compare``; both sides then offer what they have in the buckets that differ."""

    differing: Annotated[int, msgspec.Meta(ge=0, le=2**16 - 1)]
    """Bit i is set when bucket i differs."""

    collected_before: Counter


class Holding(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One version that a peer has."""

    place: Place
    stamp: Counter


class Offer(Request, frozen=True, kw_only=True, tag=40):
    """I have these versions, and you should: which do you want?"""

    holdings: Annotated[tuple[Holding, ...], msgspec.Meta(min_length=1, max_length=limits.OFFER_SIZE_MAX)]


class Offered(Reply, frozen=True, kw_only=True, tag=41):
    """Answer to ``Offer``, one byte for each holding, in order; see ``node.dht.outbox.OfferAnswer``."""

    answers: Annotated[bytes, msgspec.Meta(max_length=limits.OFFER_SIZE_MAX)]


class ListKeys(Request, frozen=True, kw_only=True, tag=42):
    """Which records do you have whose key starts with ``prefix`` and sorts after ``after``?"""

    changes_state: ClassVar[bool] = False

    prefix: Annotated[str, msgspec.Meta(max_length=limits.KEY_SIZE_MAX_BYTES)]
    after: Annotated[str, msgspec.Meta(max_length=limits.KEY_SIZE_MAX_BYTES)] = ""


class KeysListed(Reply, frozen=True, kw_only=True, tag=43):
    """One page, by key; only an empty page means the end."""

    heads: Annotated[tuple[Head, ...], msgspec.Meta(max_length=limits.LIST_PAGE_MAX)]


class PullChanges(Request, frozen=True, kw_only=True, tag=44):
    """Which records with a later stamp do you have? With a lease: tell me also of those that come later."""

    watch: Sequence
    """Number of the watch, drawn by the asking peer; its pushes carry it."""

    prefix: Annotated[str, msgspec.Meta(max_length=limits.KEY_SIZE_MAX_BYTES)]
    is_exact: bool
    """Watch one key instead of all that start with it."""

    since: Counter
    after: Annotated[bytes, msgspec.Meta(max_length=20)] = b""
    """Continue a page behind ``since`` and this place; empty at the first page."""

    lease_s: Annotated[int, msgspec.Meta(ge=0, le=limits.WATCH_LEASE_MAX_S)]
    """How long to push changes; 0 ends the watch."""


class ChangesPulled(Reply, frozen=True, kw_only=True, tag=45):
    """One page of matching records, and where the next one starts."""

    records: Annotated[tuple[Record, ...], msgspec.Meta(max_length=limits.LIST_PAGE_MAX)]
    since: Counter
    after: Annotated[bytes, msgspec.Meta(max_length=20)]
    is_end: bool


class PushChange(Request, frozen=True, kw_only=True, tag=46):
    """A record changed that you watch."""

    watch: Sequence
    record: Record


class ChangeNoted(Reply, frozen=True, kw_only=True, tag=47):
    """Answer to ``PushChange``."""

    is_watched: bool
    """False: nobody watches here any more, stop pushing."""


# Between peers on behalf of their users (tags 64 and up)


class HandoverWish(Request, frozen=True, kw_only=True, tag=64):
    """A person asked some peer for another leader; that peer asks the leader."""

    successor: Bytes32 | None = None


class Accepted(Reply, frozen=True, kw_only=True, tag=65):
    """The wish was taken up; its outcome shows elsewhere."""


SERVICE_MESSAGES: Final[tuple[type[Message], ...]] = (HandoverWish, Accepted)
"""Requests and replies that serve people's wishes."""

DHT_MESSAGES: Final[tuple[type[Message], ...]] = (
    ReplyTooLarge,
    Refusal,
    Store,
    Stored,
    Fetch,
    Fetched,
    Compare,
    Compared,
    Offer,
    Offered,
    ListKeys,
    KeysListed,
    PullChanges,
    ChangesPulled,
    PushChange,
    ChangeNoted,
    FindNode,
    FoundNodes,
)
"""Requests and replies between the DHTs of two peers."""
