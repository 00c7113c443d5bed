"""How long stock nodes usually take, by address (RFC 6298, section 2)."""

from collections import OrderedDict
from typing import Final

_ADDRESSES_MAX: Final = 1024
"""Addresses measured; the one measured longest ago goes first."""

_GUESS_S: Final = 0.25
"""For an address that never answered: generous for one network, and a dead node costs a lookup no more."""

_MIN_S: Final = 0.1
"""A busy node is not a lost datagram."""

_MAX_S: Final = 0.5


class RoundTrips:
    """Smoothed round trips and their deviations, bounded in number and in value."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, int], tuple[float, float]] = OrderedDict()

    def add(self, address: tuple[str, int], sample_s: float) -> None:
        """Take one measurement of a call that was sent once (Karn's rule)."""
        smoothed_s, deviation_s = self._known.get(address, (sample_s, sample_s / 2))
        deviation_s += (abs(smoothed_s - sample_s) - deviation_s) / 4
        smoothed_s += (sample_s - smoothed_s) / 8
        self._known[address] = (smoothed_s, deviation_s)
        self._known.move_to_end(address)
        if len(self._known) > _ADDRESSES_MAX:
            self._known.popitem(last=False)

    def patience_s(self, address: tuple[str, int]) -> float:
        """Return how long an answer may take before it is worth acting, in seconds."""
        known = self._known.get(address)
        if known is None:
            return _GUESS_S
        return min(_MAX_S, max(_MIN_S, known[0] + 4 * known[1]))
