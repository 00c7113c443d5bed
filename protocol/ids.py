"""Identifiers and distances.

A peer id is the SHA-256 of the peer's Ed25519 public key (32 bytes). Two shorter forms travel where space
counts: the short id (first 16 bytes, datagram headers) and the Kademlia id (first 20 bytes, distances), after
the 160-bit space of Kademlia (Maymounkov and Mazieres 2002, section 2).
"""

import functools
import hashlib
import re
from typing import Final, NewType

PeerId = NewType("PeerId", bytes)
"""32 bytes: SHA-256 of the peer's public key."""

ShortId = NewType("ShortId", bytes)
"""16 bytes: the start of a peer id; names the sender and the receiver of a datagram."""

Digest = NewType("Digest", bytes)
"""20 bytes: a place in the Kademlia space, of a peer or of a key."""

NetworkId = NewType("NetworkId", bytes)
"""32 bytes: see ``protocol.network.NetworkIdentity``."""

PEER_ID_SIZE_BYTES: Final = 32
SHORT_ID_SIZE_BYTES: Final = 16
DIGEST_SIZE_BYTES: Final = 20

ANY_RECEIVER: Final = ShortId(bytes(SHORT_ID_SIZE_BYTES))
"""Receiver short id of a discovery datagram, whose sender knows an address but not yet who answers there."""

_NAME = re.compile(r"[a-z0-9-]{1,63}\Z")


@functools.lru_cache(maxsize=4096)  # asked some ten times for each datagram, of few peers
def peer_id_of(public_key: bytes) -> PeerId:
    """Return the id of the peer that owns ``public_key`` (32 raw bytes)."""
    return PeerId(hashlib.sha256(public_key).digest())


def short_id_of(peer_id: PeerId) -> ShortId:
    """Return the first 16 bytes of a peer id."""
    return ShortId(peer_id[:SHORT_ID_SIZE_BYTES])


def kademlia_id_of(peer_id: PeerId) -> Digest:
    """Return a peer's place in the Kademlia space."""
    return Digest(peer_id[:DIGEST_SIZE_BYTES])


def key_digest(key: str, *, open_network: bool) -> Digest:
    """Return a key's place in the Kademlia space.

    Open networks hash with SHA-1 as the ``kademlia`` library does, so that stock nodes look in the same place;
    all others use SHA-256, cut to the 20 bytes of the space.
    """
    text = key.encode()
    if open_network:
        return Digest(hashlib.sha1(text, usedforsecurity=False).digest())
    return Digest(hashlib.sha256(text).digest()[:DIGEST_SIZE_BYTES])


def distance(left: bytes, right: bytes) -> int:
    """Return the XOR distance of two places of equal length (Kademlia 2002, section 2.1)."""
    return int.from_bytes(left, "big") ^ int.from_bytes(right, "big")


def is_name(text: str) -> bool:
    """Return whether ``text`` may name a peer, a network or a service: 1 to 63 of ``a-z``, ``0-9`` and ``-``."""
    return _NAME.match(text) is not None
