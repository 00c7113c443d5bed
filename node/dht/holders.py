"""Who holds what, as this peer sees it just now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from node.ports import Members
from protocol.ids import Digest, PeerId
from protocol.placement import Placement, merged, view_of

_CACHED_MAX: Final = 4096
"""Places whose holders are remembered until the next change of members: some 1 MiB."""


@dataclass(frozen=True, slots=True)
class HolderList:
    """The holders of one place, closest first, and the hash that two peers compare."""

    peer_ids: tuple[PeerId, ...]
    view: bytes


class Holders:
    """The k closest living members of each place; suspects count."""

    def __init__(self, members: Members, k: int) -> None:
        self._members = members
        self.k: Final = k
        self._placement = Placement(())
        self._known: dict[Digest, HolderList] = {}
        self.on_stranger: list[Callable[[Digest], None]] = []
        """Called with a place whose holders, as others see them, are not all known here."""

    @property
    def placement(self) -> Placement:
        """All living members, ready to be ranked; a new object after each change."""
        self._refresh()
        return self._placement

    def of(self, place: Digest) -> HolderList:
        """Return the holders of ``place``; at least the local peer."""
        self._refresh()
        known = self._known.get(place)
        if known is None:
            if len(self._known) >= _CACHED_MAX:
                self._known.clear()
            peer_ids = self._placement.closest(place, self.k)
            known = self._known[place] = HolderList(peer_ids, view_of(peer_ids))
        return known

    def merged(self, place: Digest, told: Sequence[PeerId]) -> tuple[PeerId, ...]:
        """Return the holders of ``place`` when other peers' lists are believed as far as they name living members."""
        own = self.of(place).peer_ids
        if not told:
            return own
        if any(self._members.find(peer_id) is None for peer_id in told):
            for listener in self.on_stranger:
                listener(place)
        return merged(place, (own, [peer_id for peer_id in told if self.is_living(peer_id)]), self.k)

    def is_living(self, peer_id: PeerId) -> bool:
        """Return whether a peer is an alive or suspect member."""
        return self._members.is_living(peer_id)

    def in_order_of_asking(self, peer_ids: Sequence[PeerId]) -> list[PeerId]:
        """Return the same peers with those that are accused just now at the end."""
        return sorted(peer_ids, key=self._members.is_suspect)

    def _refresh(self) -> None:
        peer_ids, placed = self._members.living_ids, self._placement.peer_ids
        if peer_ids is not placed and peer_ids != placed:
            self._placement = Placement(peer_ids)
            self._known.clear()
