"""Which peers hold a record: the k closest by XOR (Kademlia 2002, section 2.3), known at once from the member table.

All who share one prefix with a place are closer to it than all who do not, and in ascending order they are
neighbours. So the k closest are inside the smallest such run that has k peers, and only that run is sorted.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

from protocol.ids import DIGEST_SIZE_BYTES, Digest, PeerId, kademlia_id_of

VIEW_SIZE_BYTES: Final = 4
_SPACE_BITS: Final = DIGEST_SIZE_BYTES * 8


class Placement:
    """Finds the peers closest to a place, among a fixed set of peers."""

    def __init__(self, peer_ids: Sequence[PeerId]) -> None:
        """Take peers in ascending order of their ids; the sequence is not changed afterwards."""
        self.peer_ids: Final = peer_ids
        self._places: list[int] = []
        self._peer_of: dict[int, PeerId] = {}

    def closest(self, place: Digest, count: int) -> tuple[PeerId, ...]:
        """Return the ``count`` peers closest to ``place``, closest first; all, when there are fewer."""
        if not self._places:
            self._place_all()
        number = _number_of(place)
        low, high = self._run_of(number, count)
        near = sorted(self._places[low:high], key=number.__xor__)[:count]
        return tuple([self._peer_of[found] for found in near])

    def _place_all(self) -> None:
        """Compute where all peers are: not before somebody asks, since peers come and go in bursts."""
        self._places = [_number_of(kademlia_id_of(peer_id)) for peer_id in self.peer_ids]
        assert all(self._places[i] <= self._places[i + 1] for i in range(len(self._places) - 1)), "ids ascend"
        self._peer_of = dict(zip(self._places, self.peer_ids, strict=True))

    def _run_of(self, number: int, count: int) -> tuple[int, int]:
        """Return the bounds of the smallest run of peers that share a prefix with ``number`` and are enough."""
        low, high = 0, len(self._places)
        for bits in range(_SPACE_BITS - 1, -1, -1):
            if high - low <= 2 * count:  # Sorting so few costs less than searching on.
                break
            first = number >> bits << bits
            next_low = bisect_left(self._places, first, low, high)
            next_high = bisect_left(self._places, first + (1 << bits), low, high)
            if next_high - next_low < count:
                break
            low, high = next_low, next_high
        return low, high


def view_of(holders: Sequence[PeerId]) -> bytes:
    """Return four bytes that tell whether two peers agree on the holders of a place; never empty."""
    return hashlib.sha256(b"".join(holders)).digest()[:VIEW_SIZE_BYTES]


def merged(place: Digest, lists: Sequence[Sequence[PeerId]], count: int) -> tuple[PeerId, ...]:
    """Return the ``count`` closest of all peers in ``lists``, closest first."""
    number = _number_of(place)
    peers = dict.fromkeys(peer_id for peer_ids in lists for peer_id in peer_ids)
    near = sorted(peers, key=lambda peer_id: _number_of(kademlia_id_of(peer_id)) ^ number)
    return tuple(near[:count])


def _number_of(place: bytes) -> int:
    return int.from_bytes(place, "big")
