"""Keeping k copies: after each change of members, and slowly all the time (DESIGN section 7).

After a change every held record is looked at once. Those whose holders changed are offered to the new ones by the
best-ranked holder that is left, and later by the second, since the first may be new itself. A newcomer is compared
with: both sides then offer what differs. So is one random member with copies in common every few seconds, which catches
the rest. Copies that are no longer this peer's are dropped once all holders confirmed that version or a newer one.

Deaths come in groups, and in their first second users read from whoever is left: until then only the most urgent
copies are made (``node.dht.first_aid``), and the rest gives way (``give_way``) after each small step.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Final

from node.dht.first_aid import FirstAid
from node.dht.outbox import REQUEST_TIMEOUT_S, Outbox
from node.dht.shelf import BUCKETS, Shelf
from node.dht.surroundings import Surroundings
from node.dht.tasks import OwnedTasks, give_way, repeated
from node.ports import PeerUnreachable, StoredRecord
from protocol.dht_messages import Compare, Compared
from protocol.ids import Digest, PeerId
from protocol.placement import Placement
from protocol.records import Record, stamp_of

SETTLING_S: Final = 2.0
"""How long after a member came copies here or there may be old (DESIGN section 7: quiet for 2 s)."""

_BATCH_S: Final = 0.02
"""Members that come or go together are handled together."""

_PASS_PAUSE_S: Final = 0.2
"""All records are looked at so rarely, however many members come one after another."""

_MOURNING_S: Final = 1.0
"""How long after a death all copies are made again, with all that died meanwhile; a newcomer is not kept waiting."""

_STORE_PAUSE_S: Final = 1.0
"""Pause after the disk failed."""

_COMPARE_INTERVAL_S: Final = 2.0
_COMPARED_AT_ONCE: Final = 4
_COMPARE_TRIES_MAX: Final = 3
_ANSWERS_MAX: Final = 64

_PUSHING_RANKS: Final = 2
"""How many holders tell the others of a version about whose place two peers disagree."""

_FOREIGN_AFTER_S: Final = 3.0
"""Quiet time of the membership before copies that are not ours any more are given up."""

_FOREIGN_AT_ONCE: Final = 512
_UNFINISHED_S: Final = 15.0
"""A write of a peer that died may have stopped half-way when it is younger than this."""


class Repair:
    """Owns the tasks that keep copies where they belong."""

    def __init__(
        self,
        surroundings: Surroundings,
        shelf: Shelf,
        outbox: Outbox,
        *,
        learn_collected: Callable[[int], Awaitable[None]],
    ) -> None:
        """Prepare; ``learn_collected`` is told other peers' ``collected_before`` ahead of any offer to them."""
        self._around = surroundings
        self._shelf = shelf
        self._outbox = outbox
        self._first_aid = FirstAid(surroundings, shelf, outbox)
        self._learn_collected = learn_collected
        self._placed = Placement(())
        self._newcomers: dict[PeerId, int] = {}
        self._is_joined = False
        """Whether a newcomer waits for the next pass over all records."""

        self._fallen: dict[PeerId, None] = {}
        self._unreached: dict[PeerId, None] = {}
        """Living members that something could not be told: they are compared with when they are heard again."""

        self._foreign: dict[Digest, None] = {}
        self._confirmed: dict[Digest, tuple[int, dict[PeerId, None]]] = {}
        self._members_changed = asyncio.Event()
        self._newcomers_due = asyncio.Event()
        self._changed_at = 0.0
        self._passed_at = 0.0
        self._unsettled_until = 0.0
        self._tasks = OwnedTasks(limit=2)
        self._answers = OwnedTasks(limit=_ANSWERS_MAX)
        outbox.on_confirmed.append(self._copy_confirmed)
        outbox.on_given_up.append(self._could_not_reach)
        shelf.on_stored.append(self._record_stored)

    def start(self) -> None:
        """Begin to watch over the copies."""
        self._unsettled_until = asyncio.get_running_loop().time() + SETTLING_S
        self._members_changed.set()
        self._tasks.start(repeated(self._follow_members, pause_s=_STORE_PAUSE_S))
        self._tasks.start(repeated(self._compare_members, pause_s=_STORE_PAUSE_S))

    async def close(self) -> None:
        """End all tasks. Idempotent."""
        await self._tasks.close()
        await self._answers.close()

    @property
    def is_settled(self) -> bool:
        """Whether no member came so lately that copies may be old; always true for a lone peer."""
        is_alone = len(self._around.members.living_ids) < 2
        return is_alone or asyncio.get_running_loop().time() >= self._unsettled_until

    def member_up(self, peer_id: PeerId) -> None:
        """A member came, came back or started anew."""
        self._fallen.pop(peer_id, None)
        self._unreached.pop(peer_id, None)
        self._newcomers[peer_id] = 0
        self._is_joined = True
        self._note_change()
        self._unsettled_until = self._changed_at + SETTLING_S

    def member_heard(self, peer_id: PeerId) -> None:
        """A member that was suspected, here or elsewhere, proved to live.

        It may have missed what was written meanwhile. Whoever could not bring it something goes on trying for longer
        than a suspicion takes, so only the members that somebody gave up are compared with.
        """
        self._unsettled_until = asyncio.get_running_loop().time() + SETTLING_S
        self._outbox.member_heard()
        if peer_id in self._unreached:
            del self._unreached[peer_id]
            self._newcomers[peer_id] = 0
        if peer_id in self._newcomers:
            self._newcomers_due.set()

    def member_down(self, peer_id: PeerId) -> None:
        """A member failed or left."""
        self._outbox.forget(peer_id)
        self._newcomers.pop(peer_id, None)
        self._unreached.pop(peer_id, None)
        self._fallen[peer_id] = None
        self._note_change()

    def spread(self, place: Digest) -> None:
        """Offer one record to all its holders: another peer has a different view of who they are."""
        holders = self._around.holders.of(place).peer_ids
        if self._around.local in holders[:_PUSHING_RANKS]:
            for holder in holders:
                self._outbox.push(holder, [place])

    def answer_compare(self, sender: PeerId, request: Compare) -> Compared:
        """Say which buckets differ, and offer what this peer has in them; learn what the other side collected."""
        differing = self._differing(sender, request.buckets)
        if differing or request.collected_before > self._shelf.store.collected_before:
            self._answers.start(self._offer_buckets(sender, differing, request.collected_before))
        return Compared(differing=differing, collected_before=self._shelf.store.collected_before)

    # After changes of members

    def _note_change(self) -> None:
        self._changed_at = asyncio.get_running_loop().time()
        self._confirmed.clear()  # whoever died may return without its disk
        self._members_changed.set()

    async def _follow_members(self) -> None:
        await self._members_changed.wait()
        loop = asyncio.get_running_loop()
        due_at = loop.time() + _MOURNING_S
        while self._fallen and not self._is_joined and loop.time() < due_at:
            await asyncio.sleep(_BATCH_S)
            self._members_changed.clear()
            await self._first_aid.give(self._placed, until=due_at, interrupt=self._members_changed)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(due_at):
                    await self._members_changed.wait()
        await asyncio.sleep(max(_BATCH_S, self._passed_at + _PASS_PAUSE_S - loop.time()))
        self._first_aid.end()
        await self._replace()
        self._passed_at = loop.time()
        self._newcomers_due.set()
        await self._finish_writes_of_fallen()

    async def _replace(self) -> None:
        """Find the new place of every record, and offer it to whom the loss of others made a holder."""
        self._members_changed.clear()
        self._is_joined = False
        before, after = self._placed, self._around.holders.placement
        if before is after:
            return
        known, living = dict.fromkeys(before.peer_ids), dict.fromkeys(after.peer_ids)
        k, local = self._around.holders.k, self._around.local
        due: dict[PeerId, list[Digest]] = {}

        def visit(place: Digest, holders: tuple[PeerId, ...]) -> None:
            if local in holders:
                self._foreign.pop(place, None)
            else:
                self._foreign[place] = None
            earlier = before.closest(place, k)
            if earlier == holders:
                return
            left = [peer_id for peer_id in earlier if peer_id in living] or [local]
            if local in left[:2]:
                for holder in holders:
                    if holder in known and holder not in earlier:  # newcomers are compared with
                        if local == left[0]:
                            due.setdefault(holder, []).append(place)
                        else:
                            self._outbox.push_later(holder, place)

        await self._shelf.rebuild(after, visit)
        self._placed = after
        for receiver, places in due.items():
            self._outbox.push(receiver, places)

    async def _finish_writes_of_fallen(self) -> None:
        """Spread the latest writes of peers that died: they may have reached only some holders."""
        fallen, self._fallen = self._fallen, {}
        if not fallen:
            return
        since = stamp_of(max(0, self._around.time.now_ms() - int(_UNFINISHED_S * 1000)))
        after: Digest | None = None
        while page := self._shelf.store.changed_since(since, after=after):
            since, after = page[-1].record.stamp, page[-1].digest
            for stored in page:
                if stored.record.author in fallen:
                    for holder in self._around.holders.of(stored.digest).peer_ids:
                        self._outbox.push_later(holder, stored.digest)
            await give_way()

    # Comparing

    async def _compare_members(self) -> None:
        """Compare with newcomers as they come, and in the end with one random member."""
        loop = asyncio.get_running_loop()
        wake_at = loop.time() + _COMPARE_INTERVAL_S * self._around.random.uniform(0.5, 1.5)
        while loop.time() < wake_at:
            self._newcomers_due.clear()
            due = self._newcomers_to_compare()
            if due:
                await asyncio.gather(*(self._compare(peer_id) for peer_id in due))
            else:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(wake_at):
                        await self._newcomers_due.wait()
        is_quiet = self._outbox.is_idle and loop.time() >= self._changed_at + _FOREIGN_AFTER_S
        if is_quiet and (others := self._others_to_compare()):
            await self._compare(self._around.random.choice(others))
        self._give_up_foreign()

    def _newcomers_to_compare(self) -> list[PeerId]:
        """Return a few newcomers: no suspects, which might not answer, and none before its copies are known."""
        if self._placed is not self._around.holders.placement:
            return []
        for peer_id in [each for each in self._newcomers if not self._shelf.shares_with(each)]:
            del self._newcomers[peer_id]  # no copy here is due there: whoever has some compares with it
        heard = (peer_id for peer_id in self._newcomers if not self._around.members.is_suspect(peer_id))
        return list(islice(heard, _COMPARED_AT_ONCE))

    def _others_to_compare(self) -> list[PeerId]:
        """Return whom a comparison may tell something: whoever should have copies of ours; a collection, everybody."""
        is_news = self._shelf.store.collected_before > 0
        others = self._around.members.living_ids if is_news else self._shelf.partners()
        return [peer_id for peer_id in others if peer_id != self._around.local and self._is_reachable(peer_id)]

    def _is_reachable(self, peer_id: PeerId) -> bool:
        members = self._around.members
        return members.is_living(peer_id) and not members.is_suspect(peer_id)

    async def _compare(self, peer_id: PeerId) -> None:
        tries = self._newcomers.pop(peer_id, _COMPARE_TRIES_MAX) + 1
        request = Compare(buckets=self._shelf.sums(peer_id), collected_before=self._shelf.store.collected_before)
        try:
            reply = await self._around.requester.request(peer_id, request, timeout_s=REQUEST_TIMEOUT_S)
        except PeerUnreachable:
            if tries >= _COMPARE_TRIES_MAX:
                self._could_not_reach(peer_id)
            elif self._around.holders.is_living(peer_id):
                self._newcomers.setdefault(peer_id, tries)
            return
        if isinstance(reply, Compared):
            await self._offer_buckets(peer_id, reply.differing, reply.collected_before)

    async def _offer_buckets(self, peer_id: PeerId, differing: int, collected_before: int) -> None:
        await self._learn_collected(collected_before)
        if differing:
            self._outbox.push(peer_id, await self._shelf.shared(peer_id, differing))

    def _could_not_reach(self, peer_id: PeerId) -> None:
        if self._around.holders.is_living(peer_id):
            self._unreached[peer_id] = None

    def _differing(self, peer_id: PeerId, buckets: tuple[bytes, ...]) -> int:
        own = self._shelf.sums(peer_id)
        return sum(1 << bucket for bucket in range(BUCKETS) if own[bucket] != buckets[bucket])

    # Copies that belong elsewhere

    def _record_stored(self, record: Record) -> None:
        if record.key:
            place = self._around.place_of(record.key)
            if self._around.local not in self._around.holders.of(place).peer_ids:
                self._foreign[place] = None

    def _give_up_foreign(self) -> None:
        """Offer copies that are not ours to their holders, but for those that have confirmed that version."""
        if asyncio.get_running_loop().time() < self._changed_at + _FOREIGN_AFTER_S:
            return
        for place in list(self._foreign)[:_FOREIGN_AT_ONCE]:
            holders = self._around.holders.of(place).peer_ids
            stamp = self._shelf.stamp_of(place)
            if stamp is None or self._around.local in holders:
                self._foreign.pop(place)
                self._confirmed.pop(place, None)
                continue
            counted, confirmed = self._confirmed.get(place, (stamp, {}))
            for holder in holders:
                if self._is_reachable(holder) and not (counted == stamp and holder in confirmed):
                    self._outbox.push(holder, [place])

    def _copy_confirmed(self, receiver: PeerId, place: Digest, stamp: int) -> None:
        """Drop a copy that is not ours once all its holders have that version or a newer one."""
        if place not in self._foreign or stamp != self._shelf.stamp_of(place):
            return
        counted, confirmed = self._confirmed.get(place, (stamp, {}))
        if counted != stamp:
            confirmed = {}
        confirmed[receiver] = None
        self._confirmed[place] = (stamp, confirmed)
        holders = self._around.holders.of(place).peer_ids
        if self._around.local not in holders and all(holder in confirmed for holder in holders):
            record = self._shelf.read(place)
            self._foreign.pop(place)
            self._confirmed.pop(place)
            if record is not None and record.stamp == stamp:
                self._answers.start(self._shelf.remove([StoredRecord(place, record)]))
