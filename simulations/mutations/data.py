"""Planted bugs of records: how they are written, read, repaired and forgotten."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from node.ports import StoredRecord
from protocol.dht_messages import RecordOutcome
from protocol.ids import Digest, PeerId
from protocol.records import Record
from simulations.mutations.mutation import Mutation, Plant
from simulations.mutations.scenes import crowd, deaths, growth, lies, swizzle

_FORGOTTEN: Final = 4
"""One of so many parts of the space is forgotten."""


def _without_tombstones(original: Callable[..., Any]) -> Callable[..., Any]:
    async def send(self: Any, receiver: PeerId, places: Sequence[Digest], left: dict[Digest, None]) -> None:
        kept = []
        for place in places:
            record = self._shelf.read(place)
            if record is not None and record.is_tombstone:
                left.pop(place, None)
            else:
                kept.append(place)
        await original(self, receiver, kept, left)

    return send


def _without_range(original: Callable[..., None]) -> Callable[..., None]:
    def push(self: Any, receiver: PeerId, places: Iterable[Digest]) -> None:
        original(self, receiver, [place for place in places if place[-1] % _FORGOTTEN])

    return push


def _collect_tombstones(original: Callable[..., Any]) -> Callable[..., Any]:
    async def collect(self: Any) -> int:
        found = [self._shelf.read(place) async for place, _ in self._shelf.walk()]
        gone = [
            StoredRecord(record.digest(open_network=False), record)
            for record in found
            if record is not None and record.is_tombstone
        ]
        await self._shelf.remove(gone)
        return len(gone) + int(await original(self))

    return collect


def _answer_before_sync(_: Any) -> Callable[..., Any]:
    async def commit(
        self: Any, records: list[StoredRecord], *, sender: PeerId, is_replica: bool
    ) -> list[RecordOutcome]:
        task = asyncio.get_running_loop().create_task(self._shelf.commit(records, is_replica=is_replica))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return [RecordOutcome(outcome="synced") for _ in records]

    return commit


def _always_synced(original: Callable[..., Any]) -> Callable[..., Any]:
    async def take(self: Any, records: Sequence[StoredRecord], **named: Any) -> list[RecordOutcome]:
        outcomes = await original(self, records, **named)
        return [RecordOutcome(outcome="synced") if each.outcome == "stale" else each for each in outcomes]

    return take


def _older_of(left: Record | None, right: Record | None) -> Record | None:
    if left is None or right is None:
        return left or right
    return left if left.order <= right.order else right


def _last_one_wins(_: Any) -> Callable[..., Any]:
    def newest(left: Record | None, right: Record | None) -> Record | None:
        return right or left

    return newest


def _take_anything(original: Callable[..., Any]) -> Callable[..., Any]:
    def judge(self: Any, stored: StoredRecord, **named: Any) -> RecordOutcome | None:
        outcome = original(self, stored, **named)
        return None if outcome is not None and outcome.outcome == "stale" and named["is_replica"] else outcome

    return judge


def _one_is_enough(original: Callable[..., Any]) -> Callable[..., Any]:
    def verdict(self: Any, now: float) -> Any:
        if self.newer is None and any(peer_id in self._synced for peer_id in self.wanted):
            return "synced"
        return original(self, now)

    return verdict


def _first_answer(original: Callable[..., None]) -> Callable[..., None]:
    def note(self: Any, peer_id: PeerId, record: Record | None, seconds: float) -> None:
        first = next(iter(self.answers.values()), record) if self.answers else record
        original(self, peer_id, record, seconds)
        self.newest = first

    return note


def _own_list(_: Any) -> Callable[..., tuple[PeerId, ...]]:
    def merged(self: Any, place: Digest, told: Sequence[PeerId]) -> tuple[PeerId, ...]:
        own: tuple[PeerId, ...] = self.of(place).peer_ids
        return own

    return merged


MUTATIONS: Final = (
    Mutation(
        name="lost tombstone",
        summary="tombstones are not handed to new holders",
        plants=(Plant("node.dht.outbox:Outbox._send", _without_tombstones),),
        scenario=swizzle,
    ),
    Mutation(
        name="tombstone collected at once",
        summary="a tombstone is removed with the next collection",
        plants=(Plant("node.dht.collecting:Collector.collect", _collect_tombstones),),
        scenario=swizzle,
    ),
    Mutation(
        name="hand-over that forgets a range",
        summary="a quarter of the space is never handed over",
        plants=(Plant("node.dht.outbox:Outbox.push", _without_range),),
        scenario=deaths,
    ),
    Mutation(
        name="ack before sync",
        summary="a holder answers before the disk has it",
        plants=(Plant("node.dht.keeping:Keeper._commit", _answer_before_sync),),
        scenario=deaths,
    ),
    Mutation(
        name="one holder is enough",
        summary="a write is acknowledged with the first holder's word",
        plants=(Plant("node.dht.storing:Storing._verdict", _one_is_enough),),
        scenario=growth,
    ),
    Mutation(
        name="stale accepted on put",
        summary="a holder with a newer version says that it took the older one",
        plants=(Plant("node.dht.keeping:Keeper.take", _always_synced),),
        scenario=crowd,
    ),
    Mutation(
        name="read repair that goes backwards",
        summary="readers spread the oldest version, and holders take it",
        plants=(
            Plant("node.dht.inquiry:newest", lambda _: _older_of),
            Plant("node.dht.keeping:Keeper._judge", _take_anything),
            Plant("simulations.memory_records:newest", _last_one_wins),
        ),
        scenario=swizzle,
    ),
    Mutation(
        name="hedge ignores found",
        summary="the first answer counts, also when a later one knows better",
        plants=(Plant("node.dht.inquiry:Inquiry._note", _first_answer),),
        scenario=swizzle,
    ),
    Mutation(
        name="holder list not merged",
        summary="holders that others know of do not count",
        plants=(Plant("node.dht.holders:Holders.merged", _own_list),),
        scenario=swizzle,
    ),
    Mutation(
        name="expired records revived",
        summary="nothing ever expires",
        plants=(
            Plant("protocol.records:Record.is_expired", lambda _: lambda self, network_time_ms: False),
            Plant("protocol.records:Head.is_expired", lambda _: lambda self, network_time_ms: False),
        ),
        scenario=swizzle,
    ),
    Mutation(
        name="records not verified",
        summary="a record is taken without its writer's signature",
        plants=(Plant("node.dht.surroundings:Surroundings.is_genuine", lambda _: lambda self, version, place: True),),
        scenario=lies,
    ),
)
