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
_DRAWS_PER_BLOCK: Final = hashlib.blake2b().digest_size // _DRAWS.size
"""One hash of a link's counter gives the numbers of so many datagrams."""

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


class Link:
    """One directed link: its quality, its own random stream, and how far its line is busy."""

    __slots__ = ("_block", "_busy_until", "_count", "_distance_s", "_stream", "is_local", "label", "quality", "target")

    def __init__(self, source: Host, target: Host, quality: LinkQuality, *, seed: bytes) -> None:
        self.target: Final = target
        self.is_local: Final = source is target
        self.quality = quality
        self.label: Final = f"{source.name} {target.name} ".encode()
        """What names the link in a trace."""
        self._distance_s = math.hypot(source.place[0] - target.place[0], source.place[1] - target.place[1])
        self._stream = hashlib.blake2b(self.label, digest_size=16, key=seed).digest()
        self._count = 0
        self._block = b""
        self._busy_until = 0.0

    def datagram(self, size_bytes: int, *, now: float) -> tuple[float, ...]:
        """Decide what becomes of a datagram sent at ``now``.

        Returns:
            One way in seconds, for each copy that arrives; empty when it is lost.
        """
        if self.is_local:
            return _AT_HOME
        quality = self.quality
        first, second, third, fourth = self._draw()
        if first < quality.loss:
            return ()
        delay_s = self._distance_s + quality.delay_s - quality.jitter_s * math.log(1.0 - second)
        if quality.bandwidth_bytes_per_s != math.inf:
            delay_s += self._queueing_s(size_bytes, now)
        if third < quality.reordering:
            delay_s += _HELD_BACK_S * fourth
        if fourth < quality.duplication:
            return (delay_s, delay_s + quality.jitter_s + _HELD_BACK_S * third)
        return (delay_s,)

    def piece_s(self, size_bytes: int, *, now: float, resend_s: float) -> float:
        """Return how long a piece of a stream is under way; each loss costs one ``resend_s``."""
        if self.is_local:
            return LOOPBACK_S
        quality = self.quality
        first, second, _, fourth = self._draw()
        delay_s = self._distance_s + quality.delay_s - quality.jitter_s * math.log(1.0 - second)
        delay_s += self._queueing_s(size_bytes, now)
        if first < quality.loss:
            delay_s += resend_s * (1 + (fourth < quality.loss))
        return delay_s

    def _queueing_s(self, size_bytes: int, now: float) -> float:
        sent_at = max(now, self._busy_until) + size_bytes / self.quality.bandwidth_bytes_per_s
        self._busy_until = sent_at
        return sent_at - now

    def _draw(self) -> tuple[float, float, float, float]:
        """Return the next four numbers of the link's own stream, each at least 0 and below 1."""
        place = self._count % _DRAWS_PER_BLOCK
        if place == 0:
            self._block = hashlib.blake2b(self._stream + self._count.to_bytes(8, "little")).digest()
        self._count += 1
        a, b, c, d = _DRAWS.unpack_from(self._block, place * _DRAWS.size)
        return a * _UNIT, b * _UNIT, c * _UNIT, d * _UNIT


class LinkModel:
    """All directed links; one costs memory from its first use on."""

    def __init__(self, *, seed: int) -> None:
        self._quality = LinkQuality()
        self._seed = hashlib.blake2b(seed.to_bytes(16, "little", signed=True), digest_size=16).digest()
        self._links: dict[tuple[str, str], Link] = {}
        self._own: dict[tuple[str, str], LinkQuality] = {}

    def between(self, source: Host, target: Host) -> Link:
        """Return the link from ``source`` to ``target``."""
        key = (source.address, target.address)
        link = self._links.get(key)
        if link is None:
            link = self._links[key] = Link(source, target, self._own.get(key, self._quality), seed=self._seed)
        return link

    def are_all(self, quality: LinkQuality) -> bool:
        """Return whether every link is exactly so good."""
        return self._quality == quality and all(own == quality for own in self._own.values())

    def set_common_quality(self, quality: LinkQuality) -> None:
        """Choose the quality of all links that have none of their own."""
        self._quality = quality
        for key, link in self._links.items():
            if key not in self._own:
                link.quality = quality

    def set_quality(self, source: Host, target: Host, quality: LinkQuality | None) -> None:
        """Give one directed link a quality of its own, or the common one again."""
        key = (source.address, target.address)
        if quality is None:
            self._own.pop(key, None)
        else:
            self._own[key] = quality
        if key in self._links:
            self._links[key].quality = quality or self._quality

    def change(self, source: Host, target: Host, **changes: float) -> None:
        """Change some properties of one directed link."""
        present = self._own.get((source.address, target.address), self._quality)
        self.set_quality(source, target, replace(present, **changes))
