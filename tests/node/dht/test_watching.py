"""Watches: every change of any key, at least once, resumable at any peer."""

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest

from node.errors import OperationError
from node.service import WatchedChange
from protocol import limits
from protocol.dht_messages import ChangeNoted, PullChanges, PushChange
from protocol.messages import Refusal, Request
from tests.node.dht.cluster import Cluster, FakePeer, delete, get, put
from tests.node.dht.virtual_time import in_virtual_time, until


class Reader:
    """Reads a watch in a task, as a client of the API does."""

    def __init__(self, peer: FakePeer, prefix: str, *, exact: bool = False, since: str | None = None) -> None:
        self.changes: list[WatchedChange] = []
        self._source: AsyncGenerator[WatchedChange, None] = peer.dht.watch(prefix, exact=exact, since=since)
        self._task = asyncio.get_running_loop().create_task(self._read())

    async def _read(self) -> None:
        async for change in self._source:
            self.changes.append(change)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._source.aclose()

    @property
    def values(self) -> list[bytes]:
        return [change.record.value for change in self.changes]

    @property
    def keys(self) -> set[str]:
        return {change.record.key for change in self.changes}


@in_virtual_time
async def test_watch_at_any_peer_sees_changes_of_any_key_at_once() -> None:
    """Pushes make a watch quick: put, overwrite and delete arrive in order, each once in the good case."""
    async with Cluster(10, k=3) as cluster:
        await put(cluster.peers[0], "zone/a", b"before")
        await asyncio.sleep(1)
        readers = [Reader(peer, "zone/") for peer in cluster.peers]
        await asyncio.sleep(0.1)
        await put(cluster.peers[1], "zone/a", b"1")
        await put(cluster.peers[2], "zone/a", b"2")
        await put(cluster.peers[2], "other", b"3")
        await delete(cluster.peers[3], "zone/a")

        await until(lambda: all(len(reader.changes) >= 3 for reader in readers), within_s=0.5)
        for reader in readers:
            assert reader.values == [b"1", b"2", b""]
            assert reader.changes[-1].record.is_tombstone
            await reader.close()


@in_virtual_time
async def test_exact_watch_sees_one_key_only() -> None:
    """``exact`` is not a prefix."""
    async with Cluster(5, k=3) as cluster:
        reader = Reader(cluster.peers[0], "a", exact=True)
        await asyncio.sleep(0.1)
        await put(cluster.peers[1], "ab", b"1")
        await put(cluster.peers[1], "a", b"2")

        await until(lambda: reader.changes, within_s=1)
        await asyncio.sleep(6)
        assert reader.values == [b"2"]
        await reader.close()


@in_virtual_time
async def test_watch_loses_nothing_while_pushes_are_lost_and_peers_die() -> None:
    """Pulls make a watch complete: with a third of all datagrams lost and holders dying, each key arrives."""
    async with Cluster(12, k=4) as cluster:
        reader = Reader(cluster.peers[0], "")
        await asyncio.sleep(0.1)
        cluster.loss = 0.3
        keys = {f"key-{number}" for number in range(60)}
        for number, key in enumerate(sorted(keys)):
            await put(cluster.peers[number % 8], key, b"v")
            if number == 30:
                cluster.kill(cluster.peers[10])
                cluster.verdict(cluster.peers[10])
        cluster.loss = 0.0

        await until(lambda: reader.keys == keys, within_s=15)
        await reader.close()


@in_virtual_time
async def test_watch_resumes_at_another_peer_where_it_ended() -> None:
    """A cursor is understood by every peer; nothing later is missed, a little before may be repeated."""
    async with Cluster(8, k=3) as cluster:
        reader = Reader(cluster.peers[0], "")
        await asyncio.sleep(0.1)
        await put(cluster.peers[1], "first", b"1")
        await until(lambda: reader.changes, within_s=1)
        cursor = reader.changes[-1].cursor
        await reader.close()
        for number in range(10):
            await put(cluster.peers[2], f"meanwhile-{number}", b"2")
        await asyncio.sleep(30)
        resumed = Reader(cluster.peers[5], "", since=cursor)

        await until(lambda: len(resumed.keys - {"first"}) == 10, within_s=1)
        await resumed.close()


@in_virtual_time
async def test_repair_is_no_change() -> None:
    """Copies that move after a death are not news."""
    async with Cluster(10, k=3) as cluster:
        await asyncio.gather(*(put(cluster.peers[0], f"key-{number}", b"v") for number in range(60)))
        await asyncio.sleep(1)
        reader = Reader(cluster.peers[0], "")
        await asyncio.sleep(0.1)
        cluster.kill(cluster.peers[4])
        cluster.verdict(cluster.peers[4])
        await asyncio.sleep(10)

        assert reader.changes == []
        await reader.close()


@pytest.mark.parametrize("after_s", [0.0, 0.0005, 0.1])
@in_virtual_time
async def test_new_watch_sees_a_write_stamped_before_it(after_s: float) -> None:
    """"From now on" is the moment, not the watching peer's clock: the writer's runs half a second behind."""
    async with Cluster(10, k=3) as cluster:
        writer = cluster.peers[1]
        writer.clock_error_ms = -500
        await put(writer, "zone/old", b"old")
        await asyncio.sleep(0.2)
        readers = [Reader(peer, "zone/") for peer in cluster.peers]
        await asyncio.sleep(after_s)
        await put(writer, "zone/new", b"new")

        await until(lambda: all(reader.changes for reader in readers), within_s=0.5)
        assert {value for reader in readers for value in reader.values} == {b"new"}
        for reader in readers:
            await reader.close()


@in_virtual_time
async def test_write_stamped_before_a_watch_comes_again_while_its_pushes_are_not_taken() -> None:
    """A pull by stamp would never show it, so whoever stored it tells of it until it was taken."""
    async with Cluster(6, k=3) as cluster:
        writer = cluster.peers[1]
        writer.clock_error_ms = -500
        watcher = cluster.stranger_to("late")
        watcher.answers = lambda sender, request: Refusal(reason="busy") if isinstance(request, PushChange) else None
        reader = Reader(watcher, "")
        await asyncio.sleep(0.1)
        await put(writer, "late", b"v")
        await asyncio.sleep(1)
        assert reader.changes == []
        watcher.answers = lambda sender, request: None

        await until(lambda: reader.values == [b"v"], within_s=6)
        await reader.close()


@in_virtual_time
async def test_slow_reader_gets_the_rest_later() -> None:
    """A full queue forgets nothing: what did not fit comes with the next pull."""
    async with Cluster(3, k=3) as cluster:
        source = cluster.peers[0].dht.watch("", exact=False, since=None)
        first = asyncio.create_task(anext(source))
        await asyncio.sleep(0.1)
        keys = {f"key-{number}" for number in range(1500)}
        await asyncio.gather(*(put(cluster.peers[1], key, b"") for key in keys))
        seen = {(await first).record.key}
        async with asyncio.timeout(60):
            while seen != keys:
                seen.add((await anext(source)).record.key)
        await source.aclose()


@in_virtual_time
async def test_member_that_comes_is_subscribed_at_once() -> None:
    """A new holder pushes as the others do."""
    async with Cluster(4, k=1) as cluster:
        reader = Reader(cluster.peers[0], "")
        await asyncio.sleep(0.1)
        newcomer = await cluster.join()
        await asyncio.sleep(0.5)
        key = next(f"key-{number}" for number in range(1000) if cluster.holders(f"key-{number}") == [newcomer])
        await put(cluster.peers[1], key, b"v")

        await until(lambda: reader.keys == {key}, within_s=0.5)
        await reader.close()


@in_virtual_time
async def test_closed_watch_leaves_nothing_at_other_peers() -> None:
    """Ending a watch ends its leases."""
    async with Cluster(5, k=3) as cluster:
        reader = Reader(cluster.peers[0], "")
        await until(lambda: all(len(peer.dht._followers) for peer in cluster.peers[1:]), within_s=1)
        await reader.close()

        await until(lambda: not any(len(peer.dht._followers) for peer in cluster.peers), within_s=1)


@in_virtual_time
async def test_pushes_to_nobody_are_answered_so() -> None:
    """A peer that watches no more says so, and is not pushed to again."""
    async with Cluster(2) as cluster:
        await put(cluster.peers[0], "color", b"red")
        record = (await get(cluster.peers[0], "color")).record
        push = PushChange(watch=7, record=record)
        reply = await cluster.peers[0].request(cluster.peers[1].peer_id, push, timeout_s=1)

        assert reply == ChangeNoted(request_id=1, is_watched=False)


@in_virtual_time
async def test_watches_of_one_peer_are_bounded() -> None:
    """Each watch costs a comparison with every change, so their number is limited on both sides."""
    async with Cluster(2) as cluster:
        replies = [
            await cluster.peers[0].request(
                cluster.peers[1].peer_id,
                PullChanges(watch=number, prefix="", is_exact=False, since=0, lease_s=20),
                timeout_s=1,
            )
            for number in range(limits.WATCHES_PER_PEER_MAX + 1)
        ]
        assert isinstance(replies[-1], Refusal)
        assert not isinstance(replies[-2], Refusal)

        own = [cluster.peers[1].dht.watch("", exact=False, since=None) for _ in range(limits.WATCHES_PER_PEER_MAX + 1)]
        waiting = [asyncio.create_task(anext(source)) for source in own]
        await asyncio.sleep(0.1)
        with pytest.raises(OperationError) as caught:
            await waiting[-1]
        assert caught.value.type == "too-many-requests"
        for task in waiting[:-1]:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for source in own:
            await source.aclose()


@in_virtual_time
async def test_forged_push_is_not_delivered() -> None:
    """A pushed record is checked as any other."""
    async with Cluster(3, k=3) as cluster:
        reader = Reader(cluster.peers[0], "")
        numbers: list[int] = []

        def spy(sender: bytes, request: Request) -> None:
            if isinstance(request, PullChanges):
                numbers.append(request.watch)

        cluster.peers[1].answers = spy
        await until(lambda: numbers, within_s=6)
        await put(cluster.peers[1], "color", b"red")
        record = (await get(cluster.peers[1], "color")).record
        await until(lambda: reader.changes, within_s=1)
        forged = msgspec.structs.replace(record, value=b"blue", stamp=record.stamp + 1)
        push = PushChange(watch=numbers[0], record=forged)
        await cluster.peers[1].request(cluster.peers[0].peer_id, push, timeout_s=1)

        assert reader.values == [b"red"]
        await reader.close()


@pytest.mark.parametrize("since", ["nonsense", "-1", "f" * 17])
@in_virtual_time
async def test_foreign_cursor_is_refused(since: str) -> None:
    """A cursor is opaque, and checked before the first wait."""
    async with Cluster(1) as cluster:
        with pytest.raises(OperationError) as caught:
            await anext(cluster.peers[0].dht.watch("", exact=False, since=since))
        assert caught.value.type == "bad-request"
