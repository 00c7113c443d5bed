"""The messages of the DHT: tags 32 to 63 (``protocol.messages`` lists all)."""

from typing import Annotated, ClassVar, Final, Literal

import msgspec

from protocol import limits
from protocol.message import BucketDigests, Message, Refusal, Reply, ReplyTooLarge, Request, Sequence
from protocol.records import Head, Record
from protocol.statements import Bytes32, Counter, Descriptor


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
    counts_holders: bool = False
    """Whether the asking peer needs a majority. One that takes the first version found has no use for a list of other
    holders, with which a record of 1 KiB would fit no datagram."""


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

    age_ms: Counter = 0
    """How long the watch has been open: what was written since then is told too, whatever its stamp."""


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
