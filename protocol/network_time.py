"""Network time: what the members' clocks agree on (DESIGN section 7).

Each ack carries the sender's wall clock. A peer keeps one offset per member, from its own steady clock to that
wall clock, and takes the median of all of them and its own: a minority of wrong clocks moves nothing, and every
peer computes nearly the same time. Until enough samples came, a newcomer believes the network time that its
first contact told. A peer that lost all others but one goes on from the time that it had: of two clocks none is the
wrong one, and the other may be a liar's.
"""

from statistics import median
from typing import Final

from protocol import limits
from protocol.ids import PeerId

_SAMPLES_MIN: Final = 2
"""Members heard before the own median is better than what the first contact said."""


class NetworkClock:
    """Maps the own steady clock, in seconds, to network time, in milliseconds since 1970."""

    def __init__(self, *, wall_ms: int, now: float) -> None:
        self._own_offset_ms = wall_ms - now * 1000
        self._offsets_ms: dict[PeerId, float] = {}
        self._agreed_offset_ms: float | None = None
        """What the first contact said, or what enough clocks agreed on last."""

        self._offset_ms = self._own_offset_ms
        self._stale = False

    def time_ms(self, now: float) -> int:
        """Return network time."""
        if self._stale:
            self._update()
        return int(now * 1000 + self._offset_ms)

    def wall_ms(self, now: float) -> int:
        """Return what this peer's own wall clock shows: the sample that it gives to others."""
        return max(0, int(now * 1000 + self._own_offset_ms))

    def read_wall(self, wall_ms: int, now: float) -> None:
        """Take a new reading of the own wall clock, which a person or NTP may have set."""
        self._own_offset_ms = wall_ms - now * 1000
        self._stale = True

    def told(self, network_time_ms: int, *, now: float) -> None:
        """Take the network time that a contact told a newcomer."""
        self._agreed_offset_ms = network_time_ms - now * 1000
        self._stale = True

    def sample(self, peer_id: PeerId, *, wall_ms: int, round_trip_s: float, now: float) -> None:
        """Take a member's wall clock from an ack that was ``round_trip_s`` under way in both directions."""
        if peer_id in self._offsets_ms or len(self._offsets_ms) < limits.MEMBERS_MAX:
            self._offsets_ms[peer_id] = wall_ms + round_trip_s * 500 - now * 1000
            self._stale = True

    def forget(self, peer_id: PeerId) -> None:
        """Drop a member that failed or left."""
        if self._stale:
            self._update()  # what was agreed while it was here still counts
        if self._offsets_ms.pop(peer_id, None) is not None:
            self._stale = True

    def _update(self) -> None:
        self._stale = False
        if len(self._offsets_ms) >= _SAMPLES_MIN:
            self._agreed_offset_ms = median([self._own_offset_ms, *self._offsets_ms.values()])
        self._offset_ms = self._own_offset_ms if self._agreed_offset_ms is None else self._agreed_offset_ms
