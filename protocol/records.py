"""Records: what the DHT keeps, and which of two wins.

A register's versions are totally ordered by (stamp, writer, content hash), so holders that saw the same versions
in any order keep the same one. Stamps are hybrid logical clocks (Kulkarni et al. 2014) of network time: 48
bits of milliseconds, 16 bits of counter.
"""

import hashlib
import re
from typing import Annotated, ClassVar, Final

import msgspec

from protocol import limits
from protocol.identity import Verifier
from protocol.ids import Digest, NetworkId, PeerId, key_digest
from protocol.statements import Bytes32, Counter, Signature, Statement

STAMP_COUNTER_BITS: Final = 16
_PEER_ID = re.compile(r"[0-9a-f]{64}\Z")
UNSIGNED_WRITER: Final = bytes(32)
"""Author key of records that a stock Kademlia node wrote into an open network."""

STAMP_AHEAD_MAX_MS: Final = 60_000
"""How far a new version may lie in the future of network time, unless it follows directly on a stored one."""

REPLICA_AHEAD_MAX_MS: Final = 86_400_000
"""How far an existing version, moved between holders, may lie in the future of network time."""


class Head(Statement, frozen=True, kw_only=True):
    """All of a record but its value: enough to order, to name and to prove a version without moving it."""

    domain: ClassVar[bytes] = b"pair/record/1"

    key: Annotated[str, msgspec.Meta(max_length=limits.KEY_SIZE_MAX_BYTES)]
    is_tombstone: bool
    stamp: Counter
    expires_ms: Counter
    value_size: Annotated[int, msgspec.Meta(ge=0, le=limits.VALUE_SIZE_MAX_BYTES)]
    value_hash: Bytes32
    """SHA-256 of the value."""

    signature: Signature = b""
    """The record's own: it covers the hash of the value, not the value."""

    @property
    def order(self) -> tuple[int, bytes, bytes]:
        """Sort key of the total order; the greatest version wins."""
        return (self.stamp, self.author_key, self._fingerprint())

    @property
    def version(self) -> str:
        """Opaque text that names this version, the same on every peer."""
        return f"{self.stamp:016x}-{self._fingerprint().hex()[:16]}"

    def is_expired(self, network_time_ms: int) -> bool:
        """Return whether the record is gone at ``network_time_ms``."""
        return self.expires_ms != 0 and self.expires_ms <= network_time_ms

    def is_live(self, network_time_ms: int) -> bool:
        """Return whether a reader may see the value."""
        return not self.is_tombstone and not self.is_expired(network_time_ms)

    def is_acceptable(self, verifier: Verifier, network_id: NetworkId, *, open_network: bool) -> bool:
        """Return whether key size and signature hold; in an open network a stock node's record has neither."""
        if open_network and self.author_key == UNSIGNED_WRITER:
            return True
        return 1 <= len(self.key.encode()) <= limits.KEY_SIZE_MAX_BYTES and self.is_authentic(verifier, network_id)

    def _fingerprint(self) -> bytes:
        # Kind and expiry belong to it: two versions that differ only there must not both win, each where it came first.
        about = bytes([self.is_tombstone]) + self.expires_ms.to_bytes(8, "big") + self.value_hash
        return hashlib.sha256(self.author_key + about).digest()


class Record(Statement, frozen=True, kw_only=True):
    """One version of one register, signed by its writer."""

    domain: ClassVar[bytes] = Head.domain

    key: Annotated[str, msgspec.Meta(max_length=limits.KEY_SIZE_MAX_BYTES)]
    """Empty only for records of stock nodes, which tell no more than the digest."""

    is_tombstone: bool = False
    """Whether this version says that the key was deleted; its value is empty then."""

    value: Annotated[bytes, msgspec.Meta(max_length=limits.VALUE_SIZE_MAX_BYTES)]
    stamp: Counter
    """Hybrid logical time; see ``stamp_of``."""

    expires_ms: Counter = 0
    """Network time at which the record is gone, in milliseconds since 1970; 0 means never."""

    signature: Signature = b""

    @property
    def head(self) -> Head:
        """Everything but the value."""
        return Head(
            author_key=self.author_key,
            key=self.key,
            is_tombstone=self.is_tombstone,
            stamp=self.stamp,
            expires_ms=self.expires_ms,
            value_size=len(self.value),
            value_hash=hashlib.sha256(self.value).digest(),
            signature=self.signature,
        )

    @property
    def writer(self) -> PeerId:
        """Id of the peer that wrote this version."""
        return self.author

    @property
    def order(self) -> tuple[int, bytes, bytes]:
        """Sort key of the total order; the greatest version wins."""
        return self.head.order

    @property
    def version(self) -> str:
        """Opaque text that names this version, the same on every peer."""
        return self.head.version

    def signed_bytes(self, network_id: NetworkId) -> bytes:
        """Return what the signature covers: the head, so that it can be checked without the value."""
        return self.head.signed_bytes(network_id)

    def is_expired(self, network_time_ms: int) -> bool:
        """Return whether the record is gone at ``network_time_ms``."""
        return self.expires_ms != 0 and self.expires_ms <= network_time_ms

    def is_live(self, network_time_ms: int) -> bool:
        """Return whether a reader may see the value."""
        return not self.is_tombstone and not self.is_expired(network_time_ms)

    def digest(self, *, open_network: bool) -> Digest:
        """Return the place of the key in the Kademlia space; only for records that know their key."""
        assert self.key, "a stock node's record has no key; its digest travels beside it"
        return key_digest(self.key, open_network=open_network)

    def is_acceptable(self, verifier: Verifier, network_id: NetworkId, *, open_network: bool) -> bool:
        """Return whether key size and signature hold; in an open network a stock node's record has neither."""
        return self.head.is_acceptable(verifier, network_id, open_network=open_network)


def stamp_of(time_ms: int, counter: int = 0) -> int:
    """Return the stamp of a network time in milliseconds."""
    return (time_ms << STAMP_COUNTER_BITS) | counter


def time_ms_of(stamp: int) -> int:
    """Return the network time of a stamp, in milliseconds since 1970."""
    return stamp >> STAMP_COUNTER_BITS


def next_stamp(*, network_time_ms: int, above: int, counter: int = 0) -> int:
    """Return a stamp for a new version: network time, or just above ``above`` where that is later.

    Args:
        counter: Where the counter starts: two peers that write one key in one millisecond had better differ.
    """
    return max(stamp_of(network_time_ms, counter), above + 1)


def owner_of(key: str) -> PeerId | None:
    """Return the only peer that may write ``key``, or None: ``@<peer id>/…`` belongs to that peer."""
    owner, slash, _ = key.removeprefix("@").partition("/")
    if key.startswith("@") and slash and _PEER_ID.match(owner):
        return PeerId(bytes.fromhex(owner))
    return None


def stamp_is_credible(stamp: int, *, network_time_ms: int, stored_stamp: int, is_replica: bool) -> bool:
    """Return whether a holder may accept ``stamp``.

    A new version may lead network time by a minute, or follow closely on the stored version wherever that lies:
    a key once written by a peer with a fast clock stays writable. A replica moved between holders was accepted
    before, so it only may not lie days ahead.
    """
    allowed_ms = REPLICA_AHEAD_MAX_MS if is_replica else STAMP_AHEAD_MAX_MS
    return stamp <= max(stamp_of(network_time_ms + allowed_ms), stored_stamp + stamp_of(1000))


def newest(left: Record | None, right: Record | None) -> Record | None:
    """Return the version that wins; commutative, associative and idempotent."""
    if left is None or right is None:
        return left or right
    if left.stamp != right.stamp:
        return left if left.stamp > right.stamp else right
    return left if left.order >= right.order else right
