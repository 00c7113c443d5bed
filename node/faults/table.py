"""Which faults are active, and what they do to whatever flows between this peer and others. Pure: time is given.

Faults add up: each draws for itself, delays are summed, and one cut is enough. The numbers mean what they mean in the
simulator (``simulations.world.links``), so that a scenario is as hard on real processes as in virtual time.
"""

import math
import random
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from node.errors import OperationError
from node.shapes import Fault, FaultOrder
from protocol.ids import PeerId, ShortId, short_id_of

Direction: TypeAlias = Literal["in", "out"]

FAULTS_MAX: Final = 64
"""Faults active at once: each costs a look for each datagram."""

HELD_BACK_S: Final = 0.01
"""Longest time that a reordered datagram is held back; later ones overtake it."""

_COPIES_MAX: Final = 4
"""Copies of one datagram, however many faults duplicate it."""

_RESEND_S: Final = 0.2
"""What the first loss costs a stream: the shortest retransmission time-out of common kernels; it doubles each time."""

_RESENDS_MAX: Final = 6
"""Losses of one piece of a stream in a row: the last wait is 6.4 s."""

_AT_ONCE: Final = (0.0,)


@dataclass(frozen=True, slots=True)
class ActiveFault:
    """One fault, and when it ends by itself."""

    id: str
    """8 hexadecimal digits."""

    order: FaultOrder
    ends_at: float
    others: frozenset[ShortId] | None
    """Whom it is about; None for everybody."""

    def acts_on(self, peer: ShortId | None, direction: Direction) -> bool:
        """Return whether it hits what goes to or comes from ``peer``; None is somebody whose id is not known."""
        return self.order.direction in (direction, "both") and (self.others is None or peer in self.others)

    def document(self, now: float) -> Fault:
        """Return the JSON shape."""
        order = self.order
        return Fault(
            id=self.id,
            kind=order.kind,
            peers=list(order.peers) if order.peers is not None else None,
            direction=order.direction,
            probability=order.probability,
            ms=order.ms,
            jitter_ms=order.jitter_ms,
            expires_in_s=round(max(0.0, self.ends_at - now), 3),
        )


class FaultTable:
    """The faults of one peer.

    Invariants:
        1. At most ``FAULTS_MAX`` faults, each with an id of its own.
        2. What is ended at ``now`` acts on nothing at ``now``.
    """

    def __init__(self, *, random: random.Random) -> None:
        """Begin with no fault; ``random`` decides what is hit."""
        self._random = random
        self._faults: dict[str, ActiveFault] = {}

    def add(self, order: FaultOrder, *, now: float) -> ActiveFault:
        """Begin a fault and return it.

        Raises:
            OperationError: ``quota-exceeded``: there are too many.
        """
        if len(self.active(now)) >= FAULTS_MAX:
            raise OperationError(
                "quota-exceeded",
                f"{FAULTS_MAX} faults are active already",
                next_step="clear some: pair fault clear [ID]",
            )
        id = self._new_id()
        others = None
        if order.peers is not None:
            others = frozenset(short_id_of(PeerId(bytes.fromhex(text))) for text in order.peers)
        fault = self._faults[id] = ActiveFault(id, order, now + order.seconds, others)
        return fault

    def remove(self, id: str, *, now: float) -> ActiveFault | None:
        """End one fault and return it, or None when there is none of that id."""
        self.active(now)
        return self._faults.pop(id, None)

    def active(self, now: float) -> tuple[ActiveFault, ...]:
        """Return the faults that last, oldest first, and forget those that ended."""
        for fault in [fault for fault in self._faults.values() if fault.ends_at <= now]:
            del self._faults[fault.id]
        return tuple(self._faults.values())

    def next_end(self, now: float) -> float:
        """Return when the next fault ends by itself; infinity without any."""
        return min((fault.ends_at for fault in self.active(now)), default=math.inf)

    def datagram(self, peer: ShortId | None, direction: Direction, *, now: float) -> tuple[float, ...]:
        """Decide what becomes of one datagram.

        Returns:
            How long each copy is held back, in seconds; empty when it is lost.
        """
        if not self._faults:
            return _AT_ONCE
        copies, delay_s = 1, 0.0
        for fault in self._acting(peer, direction, now):
            match fault.order.kind:
                case "cut":
                    return ()
                case "loss":
                    if self._hits(fault):
                        return ()
                case "delay":
                    delay_s += self._delay_s(fault)
                case "duplicate":
                    copies += self._hits(fault)
                case "reorder":
                    delay_s += HELD_BACK_S * self._random.random() if self._hits(fault) else 0.0
        return tuple(
            delay_s + (HELD_BACK_S * self._random.random() if copy else 0.0)
            for copy in range(min(copies, _COPIES_MAX))
        )

    def is_cut(self, peer: ShortId | None, direction: Direction, *, now: float) -> bool:
        """Return whether nothing gets through that way."""
        return any(
            fault.order.kind == "cut" or (fault.order.kind == "loss" and fault.order.probability == 1)
            for fault in self._acting(peer, direction, now)
        )

    def stream_delay_s(self, peer: ShortId | None, direction: Direction, *, now: float) -> float:
        """Return how much later a message on a stream arrives, were it not cut.

        A stream hides lost, doubled and reordered packets from those who use it: a loss shows as time until the piece
        was sent again.
        """
        delay_s = 0.0
        for fault in self._acting(peer, direction, now):
            if fault.order.kind == "delay":
                delay_s += self._delay_s(fault)
            elif fault.order.kind == "loss":
                resends = 0
                while resends < _RESENDS_MAX and self._hits(fault):
                    delay_s += _RESEND_S * 2**resends
                    resends += 1
        return delay_s

    def _acting(self, peer: ShortId | None, direction: Direction, now: float) -> list[ActiveFault]:
        if not self._faults:
            return []
        return [fault for fault in self.active(now) if fault.acts_on(peer, direction)]

    def _hits(self, fault: ActiveFault) -> bool:
        return self._random.random() < (fault.order.probability or 0.0)

    def _delay_s(self, fault: ActiveFault) -> float:
        jitter_ms = fault.order.jitter_ms or 0.0
        return ((fault.order.ms or 0.0) - jitter_ms * math.log(1.0 - self._random.random())) / 1000

    def _new_id(self) -> str:
        while True:
            id = f"{self._random.getrandbits(32):08x}"
            if id not in self._faults:
                return id
