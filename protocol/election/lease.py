"""The lease of a leader: how long a majority's acks carry it.

Time counts from the sending of the heartbeat that was acknowledged, never from the ack: the voter's patience began
no earlier (Raft 2014 thesis, section 6.4.1; check-quorum, section 6.2). A leader that was stopped finds its lease
over when it wakes, whatever acks wait in its socket.
"""

import math
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from protocol.ids import PeerId
from protocol.statements import majority_of

ROUNDS_MAX: Final = 16
"""Heartbeat rounds remembered; an ack of an older one could not extend the lease any more."""


class Lease:
    """Acks of one leader's rounds under one certificate."""

    def __init__(self, *, holder: PeerId, started_at: float, duration_s: float) -> None:
        """Start with the time at which the votes were asked for, as if they were acks."""
        self._holder = holder
        self._started_at = started_at
        self._duration_s = duration_s
        self._sent_at: OrderedDict[int, float] = OrderedDict()
        self._acknowledged: dict[PeerId, float] = {}

    def sent(self, sequence: int, *, members: Iterable[PeerId], now: float) -> None:
        """Note the sending of a round; forget acks of peers that are no ``members`` of a council any more."""
        self._sent_at[sequence] = now
        if len(self._sent_at) > ROUNDS_MAX:
            self._sent_at.popitem(last=False)
        self._acknowledged = {peer: self._acknowledged[peer] for peer in members if peer in self._acknowledged}

    def acknowledged(self, peer_id: PeerId, sequence: int) -> None:
        """Note that ``peer_id`` accepted a round; an unknown or older one changes nothing."""
        sent_at = self._sent_at.get(sequence)
        if sent_at is not None and sent_at > self._acknowledged.get(peer_id, -math.inf):
            self._acknowledged[peer_id] = sent_at

    def until(self, council: tuple[PeerId, ...]) -> float:
        """Return when the lease ends in ``council``; infinity when the holder alone is its majority."""
        others_needed = majority_of(len(council)) - (self._holder in council)
        if others_needed <= 0:
            return math.inf
        others = (peer for peer in council if peer != self._holder)
        times = sorted((self._acknowledged.get(peer, -math.inf) for peer in others), reverse=True)
        acknowledged_at = times[others_needed - 1] if others_needed <= len(times) else -math.inf
        return max(acknowledged_at, self._started_at) + self._duration_s
