"""What the parts of a peer ask of each other, so that each can be built, tested and simulated alone."""

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from protocol.ids import Digest, PeerId
from protocol.messages import Reply, Request
from protocol.records import Record
from protocol.statements import Descriptor


class PeerUnreachable(Exception):
    """A request got no answer in time; whether it took effect is unknown."""


class Members(Protocol):
    """The membership as the DHT sees it."""

    @property
    def local(self) -> PeerId:
        """Id of this peer."""

    @property
    def living_ids(self) -> tuple[PeerId, ...]:
        """Alive and suspect members, the local peer included, ascending; the same object until one comes or goes."""

    def is_living(self, peer_id: PeerId) -> bool:
        """Return whether a peer is an alive or suspect member."""

    def find(self, peer_id: PeerId) -> Descriptor | None:
        """Return what is known of a member in any state, or None."""

    def is_suspect(self, peer_id: PeerId) -> bool:
        """Return whether a member is accused just now: ask it last."""

    def expected_count(self) -> int:
        """Return how many members have not left: the living ones, the local peer included, and the failed ones."""


class Requester(Protocol):
    """Asks other peers. Uses a datagram where request and reply fit one, TCP otherwise."""

    def request(self, peer_id: PeerId, request: Request, *, timeout_s: float) -> Awaitable[Reply]:
        """Send ``request`` (its number and receiver boot are filled in); what is returned becomes the reply.

        Lost datagrams are sent again within ``timeout_s``; handlers are idempotent.

        Raises:
            PeerUnreachable: No reply in time, or the peer is not a member; at once or by what is returned.
        """

    def usual_round_trip_s(self, peer_id: PeerId) -> float:
        """Return the smoothed round-trip time plus four deviations (RFC 6298), in seconds; a guess at first."""


class NetworkTime(Protocol):
    """Network time: the own monotonic clock plus the median offset learned from others (DESIGN section 7)."""

    def now_ms(self) -> int:
        """Return milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record and its place; the place travels apart because records of stock nodes know no key."""

    digest: Digest
    record: Record


class RecordStore(Protocol):
    """Keeps the newest version of each record, durably.

    Reads answer from what is committed. Writes of one ``commit`` are durable together when it returns; commits
    asked for while one is at work are united in the next. A write that does not win against the stored version
    (``protocol.records.newest``) changes nothing.
    """

    def read(self, digest: Digest) -> Record | None:
        """Return the stored version, tombstones and expired ones included."""

    async def commit(self, records: Sequence[StoredRecord]) -> Sequence[Record]:
        """Store each record unless a newer version is there; return, in order, the version now stored.

        Raises:
            StoreError: Nothing of this call is stored; the disk is full or failed.
        """

    async def remove(self, versions: Sequence[StoredRecord]) -> None:
        """Forget exactly these versions; a newer one stays."""

    async def set_aside(self, versions: Sequence[StoredRecord]) -> None:
        """Move exactly these versions where no read finds them, but a person can (``set_aside`` table)."""

    def digests(self) -> Iterable[tuple[Digest, int]]:
        """Return place and stamp of every stored record, ascending by place."""

    def scan(self, prefix: str, *, after: str = "", limit: int = 1000) -> Sequence[Record]:
        """Return records whose key starts with ``prefix`` and sorts after ``after`` (code points), by key.

        At most ``limit`` records and some 8 MiB of values at a time: only an empty answer means the end.
        Tombstones and expired records are included; records without a key are not.
        """

    def changed_since(self, stamp: int, *, after: Digest | None = None, limit: int = 1000) -> Sequence[StoredRecord]:
        """Return records with a stamp above ``stamp``, ascending by stamp, then place.

        Several records may share a stamp, so a page continues behind the last record's stamp *and* place: with
        ``after`` the records of exactly ``stamp`` whose place sorts behind it come first. At most ``limit``
        records and some 8 MiB of values at a time: only an empty answer means the end.
        """

    def expired(self, network_time_ms: int, *, limit: int = 1000) -> Sequence[StoredRecord]:
        """Return records, tombstones included, whose ``expires_ms`` is not 0 and at most ``network_time_ms``.

        Ascending by ``expires_ms``, found through an index: asked every few seconds, and nearly always empty. At most
        ``limit`` records and some 8 MiB of values at a time; the caller removes them and asks again.
        """

    def usage(self, author_key: bytes) -> tuple[int, int]:
        """Return how many records, and how many bytes of values, one writer has here."""

    def count(self) -> int:
        """Return how many live values (no tombstones) are stored."""

    @property
    def collected_before(self) -> int:
        """Stamp of the newest tombstone that any peer is known to have collected."""

    async def raise_collected_before(self, stamp: int) -> None:
        """Persist a higher ``collected_before``; a lower one changes nothing."""

    async def close(self) -> None:
        """Finish what was asked for and close. Idempotent."""
