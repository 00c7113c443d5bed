"""What the peers think what time it is: how far apart they are is how vague an expiry may be."""

from typing import Final

from protocol.records import Record
from simulations.checkers.checker import OutsideContext
from simulations.history import Operation

_MARGIN_S: Final = 0.2


class NetworkTimes:
    """Keeps how far ahead of true time network time was, at the earliest and at the latest peer of each second."""

    def __init__(self, context: OutsideContext) -> None:
        self._context = context
        self._least_s = 0.0
        self._most_s = 0.0
        self._asked: tuple[float, float, float] | None = None
        """When the peers of today were asked last, and how far ahead the first and the last of them were."""

    @property
    def spread_s(self) -> float:
        """How far network times were apart, over all peers and the whole run."""
        return self._most_s - self._least_s

    def scanned(self, at_s: float) -> None:
        """Ask every running peer."""
        for ahead_s in self._context.cluster.clocks_ahead_s(at_s):
            self._least_s, self._most_s = min(self._least_s, ahead_s), max(self._most_s, ahead_s)

    def may_be_either(self, record: Record, read: Operation) -> bool:
        """Return whether a record expired so close to a read that it may have been there or not."""
        if not record.expires_ms:
            return False
        earliest_s, latest_s = self._expires_s(record)
        assert read.ended_s is not None, "a final read has ended"
        return earliest_s - _MARGIN_S <= read.ended_s and read.began_s <= latest_s + _MARGIN_S

    def is_live(self, record: Record, read: Operation) -> bool:
        """Return whether a reader may see the record; only where ``may_be_either`` is false."""
        return not record.is_tombstone and (not record.expires_ms or read.began_s < self._expires_s(record)[0])

    def _expires_s(self, record: Record) -> tuple[float, float]:
        """Return the true times at which the first and the last peer of today think that it expires."""
        now = self._context.now()
        if self._asked is None or self._asked[0] != now:
            ahead_s = self._context.cluster.clocks_ahead_s(now) or [0.0]
            self._asked = (now, max(ahead_s), min(ahead_s))
        expires_s = record.expires_ms / 1000 - self._context.cluster.epoch_s
        return expires_s - self._asked[1], expires_s - self._asked[2]
