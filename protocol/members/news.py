"""News: evidence on its way to everybody, each piece sent a bounded number of times.

SWIM 2002, section 4.1: updates ride on probes and acks, least-sent first, and each is dropped after
``retransmit_factor * ceil(log10(members + 1))`` sends. Urgent news also makes rounds of gossip of its own. What makes a
verdict (refusals, goodbyes) does so for all its sends; silence and its refutation for one round by each who hears of
it, which reaches nearly everybody: they weigh nothing for most of a second, and the others hear with the next probes.
A newcomer, whom somebody introduces to everybody, only rides along a few times.

Departure: a piece that somebody else tells us counts as sent (Demers et al. 1987, feedback): when forty peers see
one die, the word soon is known and soon falls silent. But each peer makes two rounds with a verdict of its own: where
echoes alone could silence it, one crash of ten stayed unknown to some of forty peers for over half a second.
"""

import math
from collections.abc import Iterable, Sequence
from itertools import islice

import msgspec

from protocol.config import ProtocolConfig
from protocol.ids import PeerId
from protocol.limits import MEMBERS_MAX, UPDATES_PER_MESSAGE_MAX
from protocol.statements import Accusation, Evidence, Leave

NEWS_MAX = 2 * MEMBERS_MAX
"""Pieces on their way at once: a descriptor and one accusation of each member; the oldest goes first."""

ITEM_OVERHEAD_BYTES = 3
"""MessagePack header of one item of up to 65,535 bytes."""

VERDICT_ROUNDS = 2
"""Rounds that each peer makes with a verdict, however often it hears it from others."""

_RIDING = 1000
"""Ranks from here on are those of news that makes no rounds."""


def subject_of(evidence: Evidence) -> PeerId:
    """Return whom a piece of evidence is about."""
    return PeerId(evidence.accused) if isinstance(evidence, Accusation) else evidence.author


class Item(msgspec.Struct, eq=False, kw_only=True):
    """One piece of evidence that is on its way."""

    subject: PeerId
    author: PeerId
    encoded: bytes
    is_newcomer: bool
    is_verdict: bool
    """Whether a member falls by it, at once or with a second one."""

    rank: int
    """Its place in the queue: the number of its sends, over ``_RIDING`` when it makes no rounds of gossip."""


class News:
    """The queue; newer evidence of the same author about the same peer takes the place of older.

    It holds only what stands: whatever refutes a piece takes it out.

    Invariants:
        1. At most ``NEWS_MAX`` items.
        2. ``_by_encoding`` and, each in the rank that it names, ``_ranks`` hold exactly the items of ``_items``.
        3. ``_urgent_count`` counts those below ``_RIDING``.
    """

    def __init__(self, config: ProtocolConfig) -> None:
        self._config = config
        self._items: dict[tuple[PeerId, PeerId], Item] = {}
        self._by_encoding: dict[bytes, Item] = {}
        self._ranks: dict[int, dict[bytes, Item]] = {}
        """Within a rank, whatever came to it last stands last."""
        self._urgent_count = 0

    def __len__(self) -> int:
        return len(self._items)

    @property
    def is_urgent(self) -> bool:
        """Whether rounds of gossip are worth their cost."""
        return self._urgent_count > 0

    def find(self, encoded: bytes) -> Item | None:
        """Return the item whose evidence has these bytes, if it is on its way."""
        return self._by_encoding.get(encoded)

    def add(self, evidence: Evidence, *, is_urgent: bool = True) -> None:
        """Queue evidence that was not known before."""
        subject, author = subject_of(evidence), evidence.author
        self._drop((subject, author))
        item = Item(
            subject=subject,
            author=author,
            encoded=evidence.encoded,
            is_newcomer=not is_urgent,
            is_verdict=isinstance(evidence, Leave) or (isinstance(evidence, Accusation) and evidence.kind == "refused"),
            rank=0 if is_urgent else _RIDING,
        )
        self._items[subject, author] = self._by_encoding[item.encoded] = item
        self._file(item)
        if len(self._items) > NEWS_MAX:
            self._drop(next(iter(self._items)))

    def forget_accusations(self, subject: PeerId, accusers: Iterable[PeerId]) -> None:
        """Stop spreading what ``accusers`` say of ``subject``: it is void, or weightier words took its place."""
        for accuser in accusers:
            self._drop((subject, accuser))

    def echoed(self, *, subject: PeerId, author: PeerId, members: int) -> None:
        """Count as sent what somebody just told us: he knows, and so do those whom he told."""
        item = self._items.get((subject, author))
        if item is None or (item.is_verdict and item.rank < VERDICT_ROUNDS * self._config.gossip_fanout):
            return
        self._count(item, self._sends_max(members))

    def take(
        self, *, first: Sequence[bytes] = (), receiver: PeerId, members: int, budget_bytes: int
    ) -> tuple[bytes, ...]:
        """Return updates for one message and count them as sent.

        Urgent news goes first, then the least sent; among equals the newest, which fewest peers can have heard.

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
        if not self._items:
            return tuple(chosen)
        queue = (item for rank in sorted(self._ranks) for item in reversed(self._ranks[rank].values()))
        taken: list[Item] = []
        for item in islice(queue, UPDATES_PER_MESSAGE_MAX):
            size = len(item.encoded) + ITEM_OVERHEAD_BYTES
            if size > budget_bytes or len(chosen) == UPDATES_PER_MESSAGE_MAX:
                continue
            if item.subject == item.author == receiver or item.encoded in first:
                continue
            budget_bytes -= size
            chosen.append(item.encoded)
            taken.append(item)
        sends_max = self._sends_max(members)
        for item in taken:
            self._count(item, sends_max)
        return tuple(chosen)

    def check_invariants(self) -> None:
        """Assert the invariants of the class."""
        assert len(self._items) <= NEWS_MAX
        items = list(self._items.values())
        assert self._by_encoding == {item.encoded: item for item in items}
        assert all(self._ranks[item.rank][item.encoded] is item for item in items)
        assert sum(map(len, self._ranks.values())) == len(items) and all(self._ranks.values())
        assert self._urgent_count == sum(item.rank < _RIDING for item in items)

    def _sends_max(self, members: int) -> int:
        return self._config.retransmit_factor * math.ceil(math.log10(members + 1))

    def _count(self, item: Item, sends_max: int) -> None:
        """Note that an item was sent once more."""
        self._unfile(item)
        item.rank += 1
        sends = item.rank % _RIDING
        if sends >= (self._config.gossip_fanout if item.is_newcomer else sends_max):
            del self._items[item.subject, item.author], self._by_encoding[item.encoded]
            return
        if item.rank < _RIDING and sends >= self._config.gossip_fanout and not item.is_verdict:
            item.rank += _RIDING
        self._file(item)

    def _drop(self, key: tuple[PeerId, PeerId]) -> None:
        item = self._items.pop(key, None)
        if item is not None:
            del self._by_encoding[item.encoded]
            self._unfile(item)

    def _file(self, item: Item) -> None:
        self._ranks.setdefault(item.rank, {})[item.encoded] = item
        self._urgent_count += item.rank < _RIDING

    def _unfile(self, item: Item) -> None:
        rank = self._ranks[item.rank]
        del rank[item.encoded]
        if not rank:
            del self._ranks[item.rank]
        self._urgent_count -= item.rank < _RIDING
