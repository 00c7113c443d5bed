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
_KEY: Final = struct.Struct("<QQQ")
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


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of one datagram."""

    delays_s: tuple[float, ...]
    """One way, for each copy that arrives; empty when it is lost."""


LOST: Final = Fate(())


class LinkModel:
    """The quality of every directed link, and the fate of what is sent over it."""

    def __init__(self, *, seed: int) -> None:
        self.quality = LinkQuality()
        """Of links that have none of their own."""
        self._key = hashlib.blake2b(seed.to_bytes(16, "little", signed=True), digest_size=16).digest()
        self._own: dict[tuple[str, str], LinkQuality] = {}
        self._counters: dict[tuple[str, str], int] = {}
        self._numbers: dict[str, int] = {}
        self._busy_until: dict[tuple[str, str], float] = {}

    def set_quality(self, source: Host, target: Host, quality: LinkQuality | None) -> None:
        """Give one directed link a quality of its own, or the common one again."""
        link = (source.name, target.name)
        if quality is None:
            self._own.pop(link, None)
        else:
            self._own[link] = quality

    def change(self, source: Host, target: Host, **changes: float) -> None:
        """Change some properties of one directed link."""
        self.set_quality(source, target, replace(self.quality_of(source, target), **changes))

    def quality_of(self, source: Host, target: Host) -> LinkQuality:
        """Return the quality of a directed link."""
        return self._own.get((source.name, target.name), self.quality)

    def datagram(self, source: Host, target: Host, size_bytes: int, *, now: float) -> Fate:
        """Decide what becomes of a datagram sent at ``now``."""
        if source is target:
            return Fate((LOOPBACK_S,))
        quality = self.quality_of(source, target)
        first, second, third, fourth = self._draw(source, target)
        if first < quality.loss:
            return LOST
        delay_s = self._delay_s(source, target, quality, second) + self._queueing_s(source, target, size_bytes, now)
        if third < quality.reordering:
            delay_s += _HELD_BACK_S * fourth
        if quality.duplication and fourth < quality.duplication:
            return Fate((delay_s, delay_s + quality.jitter_s + _HELD_BACK_S * third))
        return Fate((delay_s,))

    def piece_s(self, source: Host, target: Host, size_bytes: int, *, now: float, resend_s: float) -> float:
        """Return how long a piece of a stream is under way; each loss costs one ``resend_s``."""
        if source is target:
            return LOOPBACK_S
        quality = self.quality_of(source, target)
        first, second, _, fourth = self._draw(source, target)
        delay_s = self._delay_s(source, target, quality, second) + self._queueing_s(source, target, size_bytes, now)
        if first < quality.loss:
            delay_s += resend_s * (1 + (fourth < quality.loss))
        return delay_s

    def _delay_s(self, source: Host, target: Host, quality: LinkQuality, draw: float) -> float:
        distance_s = math.hypot(source.place[0] - target.place[0], source.place[1] - target.place[1])
        return distance_s + quality.delay_s - quality.jitter_s * math.log(1.0 - draw)

    def _queueing_s(self, source: Host, target: Host, size_bytes: int, now: float) -> float:
        quality = self.quality_of(source, target)
        if quality.bandwidth_bytes_per_s == math.inf:
            return 0.0
        link = (source.name, target.name)
        sent_at = max(now, self._busy_until.get(link, 0.0)) + size_bytes / quality.bandwidth_bytes_per_s
        self._busy_until[link] = sent_at
        return sent_at - now

    def _draw(self, source: Host, target: Host) -> tuple[float, float, float, float]:
        """Return the next four numbers of a link's own stream, each at least 0 and below 1."""
        link = (source.name, target.name)
        count = self._counters.get(link, 0)
        self._counters[link] = count + 1
        key = _KEY.pack(self._number(source.name), self._number(target.name), count)
        a, b, c, d = _DRAWS.unpack(hashlib.blake2b(key, digest_size=16, key=self._key).digest())
        return a * _UNIT, b * _UNIT, c * _UNIT, d * _UNIT

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
            self._numbers[name] = number
        return number
