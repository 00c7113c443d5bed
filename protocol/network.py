"""What makes a network: its key, its admin, its mode; and the secrets derived from them.

The network id is inside every key derivation, so two networks with different ids cannot even read each
other's datagrams (DESIGN section 5).
"""

import hashlib
from typing import Final, Literal, TypeAlias

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.ids import NetworkId, ShortId, is_name

NETWORK_KEY_SIZE_BYTES: Final = 32

Mode: TypeAlias = Literal["available", "quorum"]
"""How leaders are elected; declared at the founding and part of the network id."""


class NetworkIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """All that a machine needs to be a member of one network."""

    name: str
    """What people call the network; ``protocol.ids.is_name`` holds."""

    key: bytes
    """32 secret bytes that admit; for an open network derived from its public name."""

    admin_public_key: bytes
    """32 bytes: the Ed25519 key whose owner signs invites, bans and voter lists."""

    mode: Mode = "available"

    open: bool = False
    """Whether stock Kademlia nodes may read and write; such a network has no secret at all."""

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise ValueError("a network name has 1 to 63 characters of a-z, 0-9 and '-'")
        if len(self.key) != NETWORK_KEY_SIZE_BYTES or len(self.admin_public_key) != NETWORK_KEY_SIZE_BYTES:
            raise ValueError("network key and admin key have 32 bytes each")

    @property
    def network_id(self) -> NetworkId:
        """SHA-256 of network key, admin public key and mode."""
        mode = ("open-" if self.open else "") + self.mode
        return NetworkId(hashlib.sha256(self.key + self.admin_public_key + mode.encode()).digest())

    def datagram_key(self, sender: ShortId, boot: int) -> bytes:
        """Return the 32-byte key under which one boot of one sender seals its datagrams."""
        return self.derive(b"pair/udp/1" + sender + boot.to_bytes(8, "big"))

    def derive(self, purpose: bytes) -> bytes:
        """Return 32 secret bytes for ``purpose``, bound to this network's id (HKDF-SHA256, RFC 5869)."""
        return HKDF(algorithm=SHA256(), length=32, salt=self.network_id, info=purpose).derive(self.key)


def open_network_key(name: str) -> bytes:
    """Return the key of the open network called ``name``: no secret, it only keeps networks apart."""
    return hashlib.sha256(b"pair/open/1" + name.encode()).digest()
