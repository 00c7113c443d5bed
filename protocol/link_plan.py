"""To whom a peer holds liveness links: the leader and the next two peers in the ring of ids (DESIGN section 6).

Each peer is so watched by its two predecessors, and the leader by everybody: a crash has at least two observers.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

from protocol.effects import KeepLinks
from protocol.ids import PeerId
from protocol.statements import Descriptor

_SUCCESSORS: Final = 2
_PAUSE_S: Final = 0.1
"""Links are rearranged at most this often: a mass join changes successors all the time."""


class LinkPlan:
    """Decides when the links change, and to what."""

    def __init__(self) -> None:
        self._links: tuple[Descriptor, ...] = ()
        self._due = math.inf

    def rearrange_soon(self, now: float) -> None:
        """Note that members or the leader changed."""
        self._due = min(self._due, now + _PAUSE_S)

    def next_deadline(self) -> float:
        """Return when ``arranged`` wants to be asked; infinity while nothing changed."""
        return self._due

    def arranged(
        self,
        *,
        own: PeerId,
        living: Sequence[PeerId],
        leader: PeerId | None,
        describe: Callable[[PeerId], Descriptor | None],
        now: float,
    ) -> KeepLinks | None:
        """Return the links to hold from now on, or None while they stay as they are.

        Args:
            living: All living members, the own id included, ascending.
        """
        if now < self._due:
            return None
        self._due = math.inf
        position = living.index(own)
        ring = [*living[position + 1 :], *living[:position]]
        wanted = ring[:_SUCCESSORS]
        if leader is not None and leader in ring and leader not in wanted:
            wanted.append(leader)
        links = tuple(peer for peer in map(describe, wanted) if peer is not None)
        if links == self._links:
            return None
        self._links = links
        return KeepLinks(links)
