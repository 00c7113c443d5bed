"""News: evidence on its way to everybody, each piece sent a bounded number of times.

SWIM 2002, section 4.1: updates ride on probes and acks, least-sent first, and each is dropped after
``retransmit_factor * ceil(log10(members + 1))`` sends. Urgent news (accusations, refutations, goodbyes) also make
rounds of gossip of their own; a newcomer, whom somebody introduces to everybody, only rides along a few times.

Departure: a piece that somebody else tells us counts as sent (Demers et al. 1987, feedback): when forty peers see
one die, the word soon is known and soon falls silent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from protocol.codec import encode_evidence
from protocol.config import ProtocolConfig
from protocol.ids import PeerId
from protocol.limits import MEMBERS_MAX, UPDATES_PER_MESSAGE_MAX
from protocol.statements import Accusation, Evidence

NEWS_MAX = 2 * MEMBERS_MAX
"""Pieces on their way at once: a descriptor and one accusation of each member; the oldest goes first."""

ITEM_OVERHEAD_BYTES = 3
"""MessagePack header of one item of up to 65,535 bytes."""


def subject_of(evidence: Evidence) -> PeerId:
    """Return whom a piece of evidence is about."""
    return PeerId(evidence.accused) if isinstance(evidence, Accusation) else evidence.author


@dataclass(slots=True)
class Item:
    """One piece of evidence and how often it was sent."""

    encoded: bytes
    serial: int
    is_urgent: bool
    sent_count: int = 0
    order: tuple[bool, int, int] = field(init=False)
    """Urgent news first, then the least sent; among equals the newest, which fewest peers can have heard."""

    def __post_init__(self) -> None:
        self.order = (not self.is_urgent, self.sent_count, -self.serial)

    def count(self) -> None:
        """Note that it was sent once more."""
        self.sent_count += 1
        self.order = (not self.is_urgent, self.sent_count, -self.serial)


class News:
    """The queue; newer evidence of the same author about the same peer takes the place of older.

    Invariants:
        1. At most ``NEWS_MAX`` items.
        2. ``_urgent_count`` counts the urgent ones.
    """

    def __init__(self, config: ProtocolConfig) -> None:
        self._config = config
        self._items: dict[tuple[PeerId, PeerId], Item] = {}
        self._urgent_count = 0
        self._serial = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_urgent(self) -> bool:
        """Whether rounds of gossip are worth their cost."""
        return self._urgent_count > 0

    def add(self, evidence: Evidence, *, is_urgent: bool = True) -> None:
        """Queue evidence that was not known before."""
        key = (subject_of(evidence), evidence.author)
        self._drop(key)
        self._serial += 1
        self._items[key] = Item(encoded=encode_evidence(evidence), serial=self._serial, is_urgent=is_urgent)
        self._urgent_count += is_urgent
        if len(self._items) > NEWS_MAX:
            self._drop(next(iter(self._items)))

    def forget_accusations(self, subject: PeerId) -> None:
        """Stop spreading accusations of ``subject``: they are void or it is gone."""
        for key in [key for key in self._items if key[0] == subject and key[1] != subject]:
            self._drop(key)

    def echoed(self, *, subject: PeerId, author: PeerId, members: int) -> None:
        """Count as sent what somebody just told us: he knows, and so do those whom he told."""
        self._count((subject, author), members=members)

    def take(
        self, *, first: Sequence[bytes] = (), receiver: PeerId, members: int, budget_bytes: int
    ) -> tuple[bytes, ...]:
        """Return updates for one message and count them as sent.

        Args:
            first: Evidence that must be in the message, before all else; it does not count as sent.
            receiver: Who gets it; what only repeats the receiver's own words is left out.
            members: Living members, which set how often a piece is sent.
            budget_bytes: Room in the message.
        """
        chosen: list[bytes] = []
        for encoded in first:
            budget_bytes -= len(encoded) + ITEM_OVERHEAD_BYTES
            if budget_bytes >= 0:
                chosen.append(encoded)
        candidates = sorted(self._items.items(), key=lambda entry: entry[1].order)
        for key, item in candidates[:UPDATES_PER_MESSAGE_MAX]:
            size = len(item.encoded) + ITEM_OVERHEAD_BYTES
            if size > budget_bytes or len(chosen) == UPDATES_PER_MESSAGE_MAX:
                continue
            if key == (receiver, receiver) or item.encoded in first:
                continue
            budget_bytes -= size
            chosen.append(item.encoded)
            self._count(key, members=members)
        return tuple(chosen)

    def check_invariants(self) -> None:
        """Assert the invariants of the class."""
        assert len(self._items) <= NEWS_MAX
        assert self._urgent_count == sum(item.is_urgent for item in self._items.values())

    def _count(self, key: tuple[PeerId, PeerId], *, members: int) -> None:
        item = self._items.get(key)
        if item is None:
            return
        item.count()
        urgent_max = self._config.retransmit_factor * math.ceil(math.log10(members + 1))
        if item.sent_count >= (urgent_max if item.is_urgent else self._config.gossip_fanout):
            self._drop(key)

    def _drop(self, key: tuple[PeerId, PeerId]) -> None:
        item = self._items.pop(key, None)
        if item is not None:
            self._urgent_count -= item.is_urgent
