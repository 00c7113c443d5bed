"""The keys of datagrams, derived once for all simulated peers.

Each peer derives a key for every boot of every other, so a network of 300 derives 90,000 times what 300 would be
enough for. Deriving is pure, as verifying is (``simulations.witness``): what one worked out may be told to all.
"""

from typing import Final

from protocol.ids import ShortId
from protocol.network import NetworkIdentity

KEYS_MAX: Final = 20_000


class SharedNetwork(NetworkIdentity, frozen=True, kw_only=True):
    """A network whose peers live in one process."""

    derived: dict[tuple[ShortId, int], bytes]
    """The keys so far, the oldest first; at most ``KEYS_MAX``."""

    def datagram_key(self, sender: ShortId, boot: int) -> bytes:
        """Return the 32-byte key under which one boot of one sender seals its datagrams."""
        derived = self.derived
        key = derived.get((sender, boot))
        if key is None:
            key = derived[(sender, boot)] = super().datagram_key(sender, boot)
            if len(derived) > KEYS_MAX:
                del derived[next(iter(derived))]
        return key
