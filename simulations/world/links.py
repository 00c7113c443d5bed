"""What happens to one datagram, or one piece of a stream, between two hosts.

Each directed link has a random stream of its own, made by a keyed hash of (seed, source, target, counter): removing
one fault from a schedule shifts the fate of nothing else, and a million links cost no memory until they are used.
"""

import hashlib
import math
import struct
from dataclasses import dataclass, replace
from typing import Final

from simulations.world.process import Host

_DRAWS: Final = struct.Struct("<IIII")
_COUNTER: Final = struct.Struct("<Q")
_UNIT: Final = 1.0 / 2**32

LOOPBACK_S: Final = 0.00003
"""One way on one host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkQuality:
    """How good a link is; the default is a healthy local network."""

    delay_s: float = 0.0002
    """Added to the distance of the two hosts."""

    jitter_s: float = 0.0001
    """Mean of an exponential delay on top."""

    loss: float = 0.0
    """Share of datagrams that do not arrive; pieces of streams are sent again instead."""

    duplication: float = 0.0
    """Share of datagrams that arrive twice."""

    reordering: float = 0.0
    """Share of datagrams that are held back for some milliseconds, so that later ones overtake them."""

    bandwidth_bytes_per_s: float = math.inf

    def __post_init__(self) -> None:
        if self.delay_s < 0 or self.jitter_s < 0 or self.bandwidth_bytes_per_s <= 0:
            raise ValueError("delays are not negative and bandwidth is positive")
        if not all(0 <= share <= 1 for share in (self.loss, self.duplication, self.reordering)):
            raise ValueError("loss, duplication and reordering are shares between 0 and 1")


_HELD_BACK_S: Final = 0.01


_AT_HOME: Final = (LOOPBACK_S,)


class LinkModel:
    """All directed links: how good each is, its own random stream, and how far its line is busy."""

    def __init__(self, *, seed: int) -> None:
        self._common = LinkQuality()
        self._own: dict[tuple[str, str], LinkQuality] = {}
        """By the addresses of source and target, as everything of one link."""
        self._key = seed.to_bytes(16, "little", signed=True)
        self._used: dict[str, dict[str, int]] = {}
        """How often each link was used."""
        self._busy_until: dict[tuple[str, str], float] = {}

    def datagram(self, source: Host, target: Host, size_bytes: int, *, now: float) -> tuple[float, ...]:
        """Decide what becomes of a datagram sent at ``now``.

        Returns:
            One way in seconds, for each copy that arrives; empty when it is lost.
        """
        if source is target:
            return _AT_HOME
        quality = self.quality(source, target) if self._own else self._common
        jitter, loss, reordering, duplication = self._draw(source, target)
        if loss < quality.loss:
            return ()
        delay_s = math.dist(source.place, target.place) + quality.delay_s - quality.jitter_s * math.log(1.0 - jitter)
        if quality.bandwidth_bytes_per_s != math.inf:
            delay_s += self._queueing_s(source, target, size_bytes, now)
        if reordering < quality.reordering:
            delay_s += _HELD_BACK_S * duplication
        if duplication < quality.duplication:
            return (delay_s, delay_s + quality.jitter_s + _HELD_BACK_S * reordering)
        return (delay_s,)

    def piece_s(self, source: Host, target: Host, size_bytes: int, *, now: float, resend_s: float) -> float:
        """Return how long a piece of a stream is under way; each loss costs one ``resend_s``."""
        if source is target:
            return LOOPBACK_S
        quality = self.quality(source, target)
        jitter, loss, _, second_loss = self._draw(source, target)
        delay_s = math.dist(source.place, target.place) + quality.delay_s - quality.jitter_s * math.log(1.0 - jitter)
        if quality.bandwidth_bytes_per_s != math.inf:
            delay_s += self._queueing_s(source, target, size_bytes, now)
        if loss < quality.loss:
            delay_s += resend_s * (1 + (second_loss < quality.loss))
        return delay_s

    def quality(self, source: Host, target: Host) -> LinkQuality:
        """Return how good the link from ``source`` to ``target`` is."""
        return self._own.get((source.address, target.address), self._common)

    def are_all(self, quality: LinkQuality) -> bool:
        """Return whether every link is exactly so good."""
        return self._common == quality and all(own == quality for own in self._own.values())

    def set_common_quality(self, quality: LinkQuality) -> None:
        """Choose the quality of all links that have none of their own."""
        self._common = quality

    def set_quality(self, source: Host, target: Host, quality: LinkQuality | None) -> None:
        """Give one directed link a quality of its own, or the common one again."""
        if quality is None:
            self._own.pop((source.address, target.address), None)
        else:
            self._own[(source.address, target.address)] = quality

    def change(self, source: Host, target: Host, **changes: float) -> None:
        """Change some properties of one directed link."""
        self.set_quality(source, target, replace(self.quality(source, target), **changes))

    def _queueing_s(self, source: Host, target: Host, size_bytes: int, now: float) -> float:
        """Return how long something waits for the line and takes on it."""
        link = (source.address, target.address)
        takes_s = size_bytes / self.quality(source, target).bandwidth_bytes_per_s
        until_s = self._busy_until[link] = max(now, self._busy_until.get(link, 0.0)) + takes_s
        return until_s - now

    def _draw(self, source: Host, target: Host) -> tuple[float, float, float, float]:
        """Return the next four numbers of the link's own stream, each at least 0 and below 1."""
        try:
            used = self._used[source.address]
        except KeyError:
            used = self._used[source.address] = {}
        number = used[target.address] = used.get(target.address, 0) + 1
        drawn = hashlib.blake2s(self._key + source.label + target.label + _COUNTER.pack(number)).digest()
        a, b, c, d = _DRAWS.unpack_from(drawn)
        return a * _UNIT, b * _UNIT, c * _UNIT, d * _UNIT
