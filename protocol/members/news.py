"""News: evidence on its way to everybody, each piece sent a bounded number of times.

SWIM 2002, section 4.1: updates ride on probes and acks, least-sent first, and each is dropped after
``retransmit_factor * ceil(log10(members + 1))`` sends. Gossip of its own carries them while there are any.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from protocol.codec import encode_evidence
from protocol.config import ProtocolConfig
from protocol.ids import PeerId
from protocol.limits import MEMBERS_MAX, UPDATES_PER_MESSAGE_MAX
from protocol.statements import Accusation, Evidence

NEWS_MAX = 2 * MEMBERS_MAX
"""Pieces on their way at once: a descriptor and one accusation of each member; the oldest goes first."""

ITEM_OVERHEAD_BYTES = 3
"""MessagePack header of one item of up to 65,535 bytes."""


@dataclass(slots=True)
class Item:
    """One piece of evidence and how often it was sent."""

    encoded: bytes
    subject: PeerId
    serial: int
    sent_count: int = 0


class News:
    """The queue; newer evidence of the same author about the same peer takes the place of older."""

    def __init__(self, config: ProtocolConfig) -> None:
        self._config = config
        self._items: dict[tuple[PeerId, PeerId], Item] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._items)

    def add(self, evidence: Evidence) -> None:
        """Queue evidence that was not known before."""
        author = evidence.author
        subject = PeerId(evidence.accused) if isinstance(evidence, Accusation) else author
        key = (subject, author)
        self._items.pop(key, None)
        self._serial += 1
        self._items[key] = Item(encoded=encode_evidence(evidence), subject=subject, serial=self._serial)
        if len(self._items) > NEWS_MAX:
            del self._items[next(iter(self._items))]

    def forget_accusations(self, subject: PeerId) -> None:
        """Stop spreading accusations of ``subject``: they are void or it is gone."""
        for key in [key for key in self._items if key[0] == subject and key[1] != subject]:
            del self._items[key]

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
        sent_max = self._config.retransmit_factor * math.ceil(math.log10(members + 1))
        # The least-sent first; among equals the newest, which fewest peers can have heard.
        candidates = heapq.nsmallest(
            UPDATES_PER_MESSAGE_MAX, self._items.items(), key=lambda entry: (entry[1].sent_count, -entry[1].serial)
        )
        for key, item in candidates:
            size = len(item.encoded) + ITEM_OVERHEAD_BYTES
            if size > budget_bytes or len(chosen) == UPDATES_PER_MESSAGE_MAX:
                continue
            if key == (receiver, receiver) or item.encoded in first:
                continue
            budget_bytes -= size
            chosen.append(item.encoded)
            item.sent_count += 1
            if item.sent_count >= sent_max:
                del self._items[key]
        return tuple(chosen)
