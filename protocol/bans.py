"""Who is banned from the network: statements of its admin that every member keeps, spreads and obeys.

For each peer the statement of the highest version counts, a later one may lift it. A member that hears of a new one
tells a few others at once; and as long as there are any, each member compares what it knows with another every few
seconds (Demers et al. 1987: rumours, and anti-entropy that ends them). A network without bans sends nothing.

Whoever is banned is told so, with the statement that proves it: to itself everybody else would only seem silent.
"""

import hashlib
import math
import random
from collections.abc import Sequence
from typing import Final

from protocol.effects import Alarm, BanChanged, KeepBans, MachineEffect, Report, Tell
from protocol.identity import Verifier
from protocol.ids import PeerId, ShortId, short_id_of
from protocol.limits import BANS_MAX, BANS_PER_MESSAGE_MAX
from protocol.messages import BansKnown
from protocol.network import NetworkIdentity
from protocol.statements import Ban
from protocol.throttle import Throttle

COMPARE_INTERVAL_S: Final = 2.0
"""Time between two comparisons with some other member, while there are bans."""

TOLD_AT_ONCE: Final = 4
"""Members told of a new statement: with so many each, news reaches all but a few, and comparing finds those."""

PAGES_MAX: Final = 4
"""Messages in one answer to a comparison: 24 statements; more take several comparisons. An answer that is many times
the question would flood whoever a hostile member names as its address."""

_ANSWERS_PER_S: Final = 10
_TOLD_BANNED_PER_S: Final = 10
_WEIGHED_PER_S: Final = 200
"""Statements weighed per second: each new one costs a signature to check, and a write to the disk."""


class Bans:
    """One member's knowledge of the bans.

    Invariants:
        1. At most one statement about each peer, at most ``BANS_MAX`` in all, each signed by the admin.
        2. The version of the statement about a peer never falls.
    """

    def __init__(
        self,
        kept: Sequence[Ban],
        *,
        network: NetworkIdentity,
        own: PeerId,
        verifier: Verifier,
        random: random.Random,
        now: float,
    ) -> None:
        """Begin with the valid ones of those that were kept."""
        self._network = network
        self._own = own
        self._verifier = verifier
        self._random = random
        self._known: dict[PeerId, Ban] = {}
        self._banned_short: dict[ShortId, PeerId] = {}
        self._answers = Throttle(_ANSWERS_PER_S)
        self._told = Throttle(_TOLD_BANNED_PER_S)
        self._weighed = Throttle(_WEIGHED_PER_S)
        self._compare_at = math.inf
        for ban in kept:
            if self._is_news(ban) and self._has_room_for(ban) and self._is_valid(ban):
                self._enter(ban)
        self._plan(now)

    @property
    def known(self) -> tuple[Ban, ...]:
        """All statements, those that lift one included, by peer."""
        return tuple(self._known[peer_id] for peer_id in sorted(self._known))

    @property
    def banned(self) -> tuple[PeerId, ...]:
        """Who is banned, ascending."""
        return tuple(peer_id for peer_id in sorted(self._known) if not self._known[peer_id].is_lifted)

    @property
    def own(self) -> Ban | None:
        """The statement that bans the local peer, if one does."""
        ban = self._known.get(self._own)
        return ban if ban is not None and not ban.is_lifted else None

    def find(self, peer_id: PeerId) -> Ban | None:
        """Return the last statement about ``peer_id``, if there is one."""
        return self._known.get(peer_id)

    def is_banned(self, peer_id: PeerId) -> bool:
        """Return whether ``peer_id`` is banned."""
        return short_id_of(peer_id) in self._banned_short

    def refuses(self, sender: ShortId) -> bool:
        """Return whether what ``sender`` says is not heard; a banned peer itself still hears everybody."""
        return sender in self._banned_short and short_id_of(self._own) != sender

    def next_deadline(self) -> float:
        """Return when ``wake`` wants to be called."""
        return self._compare_at

    def wake(self, members: Sequence[PeerId], *, now: float) -> list[MachineEffect]:
        """Compare with one of ``members`` when it is time to."""
        if now < self._compare_at:
            return []
        self._plan(now)
        partners = self._some(members, 1)
        sample = self._random.sample(self.known, min(len(self._known), BANS_PER_MESSAGE_MAX))
        return [Tell(peer_id, self._message(sample)) for peer_id in partners]

    def given(self, ban: Ban, members: Sequence[PeerId], *, now: float) -> list[MachineEffect]:
        """Take a statement that the admin made here."""
        return self._take([ban], members, now)

    def heard(
        self, message: BansKnown, sender: PeerId | None, members: Sequence[PeerId], *, now: float
    ) -> list[MachineEffect]:
        """Take what somebody knows; ``sender`` is the member that said it, None for anybody else."""
        effects = self._take(message.bans, members, now)
        is_equal = message.digest == self._digest()
        if sender is None or is_equal or message.is_reply or not self._known or not self._answers.allows(now):
            return effects
        return effects + [Tell(sender, page) for page in self.pages()]

    def pages(self) -> list[BansKnown]:
        """Return messages that tell all that is known here, or as much of it as one answer holds."""
        all_known = list(self.known)
        self._random.shuffle(all_known)
        starts = range(0, min(len(all_known), PAGES_MAX * BANS_PER_MESSAGE_MAX), BANS_PER_MESSAGE_MAX)
        return [self._message(all_known[start : start + BANS_PER_MESSAGE_MAX], is_reply=True) for start in starts]

    def word_to(self, sender: ShortId, boot: int, *, now: float) -> BansKnown | None:
        """Return what tells a banned peer, in its boot ``boot``, that it is; None when others were told just now."""
        if not self._told.allows(now):
            return None
        ban = self._known[self._banned_short[sender]]
        return BansKnown(receiver_boot=boot, digest=self._digest(), bans=(ban,), is_reply=True)

    def check_invariants(self) -> None:
        """Assert the invariants of the class."""
        assert len(self._known) <= BANS_MAX
        assert sorted(self._banned_short.values()) == list(self.banned)
        assert all(ban.author_key == self._network.admin_public_key for ban in self._known.values())

    def _take(self, bans: Sequence[Ban], members: Sequence[PeerId], now: float) -> list[MachineEffect]:
        news: list[Ban] = []
        effects: list[MachineEffect] = []
        for ban in bans:
            if not self._is_news(ban) or not self._weighed.allows(now) or not self._is_valid(ban):
                continue
            if not self._has_room_for(ban):
                effects.append(Report(Alarm(f"there are {BANS_MAX} bans already: a new one was not taken")))
                continue
            self._enter(ban)
            news.append(ban)
        if not news:
            return effects
        if self._compare_at == math.inf:
            self._plan(now)
        told = [Tell(peer_id, self._message(news, is_reply=True)) for peer_id in self._some(members, TOLD_AT_ONCE)]
        # On disk before it is spread: a member never forgets what it told others.
        return [*effects, KeepBans(self.known), *(Report(BanChanged(ban)) for ban in news), *told]

    def _enter(self, ban: Ban) -> None:
        peer_id = PeerId(ban.banned)
        self._known[peer_id] = ban
        self._banned_short.pop(short_id_of(peer_id), None)
        if not ban.is_lifted:
            self._banned_short[short_id_of(peer_id)] = peer_id

    def _is_news(self, ban: Ban) -> bool:
        known = self._known.get(PeerId(ban.banned))
        return known is None or ban.order > known.order

    def _has_room_for(self, ban: Ban) -> bool:
        return PeerId(ban.banned) in self._known or len(self._known) < BANS_MAX

    def _is_valid(self, ban: Ban) -> bool:
        return ban.author_key == self._network.admin_public_key and ban.is_authentic(
            self._verifier, self._network.network_id
        )

    def _message(self, bans: Sequence[Ban], *, is_reply: bool = False) -> BansKnown:
        return BansKnown(digest=self._digest(), bans=tuple(bans[:BANS_PER_MESSAGE_MAX]), is_reply=is_reply)

    def _digest(self) -> bytes:
        """Return 8 bytes that two members have alike exactly when they know the same statements."""
        return hashlib.sha256(b"".join(ban.signature for ban in self.known)).digest()[:8]

    def _some(self, members: Sequence[PeerId], count: int) -> list[PeerId]:
        others = [peer_id for peer_id in members if peer_id != self._own and not self.is_banned(peer_id)]
        return self._random.sample(others, min(count, len(others)))

    def _plan(self, now: float) -> None:
        self._compare_at = now + COMPARE_INTERVAL_S if self._known else math.inf
