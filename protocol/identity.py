"""A peer's key pair, and signatures over statements.

Ed25519 signatures are deterministic (RFC 8032), so signing needs no entropy and belongs to the pure part.
"""

from collections import OrderedDict
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from protocol.ids import PeerId, peer_id_of

SEED_SIZE_BYTES: Final = 32
PUBLIC_KEY_SIZE_BYTES: Final = 32
SIGNATURE_SIZE_BYTES: Final = 64


class Identity:
    """One peer's key pair. The seed never leaves this object but through ``seed``."""

    def __init__(self, seed: bytes) -> None:
        """Derive the key pair from ``seed``, 32 bytes of entropy drawn by the caller.

        Raises:
            ValueError: The seed has another length.
        """
        if len(seed) != SEED_SIZE_BYTES:
            raise ValueError(f"a key seed has {SEED_SIZE_BYTES} bytes, not {len(seed)}")
        self.seed: Final = seed
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key: Final = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.peer_id: Final[PeerId] = peer_id_of(self.public_key)

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of ``message``."""
        return self._private.sign(message)


class Verifier(Protocol):
    """Answers whether a signature holds. Pure: the same arguments always give the same answer."""

    def verify(self, *, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Return whether ``signature`` is ``public_key``'s over ``message``; never raises."""


class CachingVerifier:
    """Verifies Ed25519 signatures and remembers the good ones: gossip repeats each statement many times."""

    def __init__(self, *, entries_max: int = 4096) -> None:
        self._good: OrderedDict[tuple[bytes, bytes, bytes], None] = OrderedDict()
        self._entries_max = entries_max

    def verify(self, *, public_key: bytes, signature: bytes, message: bytes) -> bool:
        """Return whether ``signature`` is ``public_key``'s over ``message``; never raises."""
        entry = (public_key, signature, message)
        if entry in self._good:
            self._good.move_to_end(entry)
            return True
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except (InvalidSignature, ValueError):
            return False
        self.remember(public_key=public_key, signature=signature, message=message)
        return True

    def remember(self, *, public_key: bytes, signature: bytes, message: bytes) -> None:
        """Take a signature that is known to be good: whoever made it need not verify it."""
        self._good[(public_key, signature, message)] = None
        if len(self._good) > self._entries_max:
            self._good.popitem(last=False)
