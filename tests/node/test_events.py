"""Events reach every listener, and a slow one is cut off instead of waited for."""

import asyncio

from node.events import EVENTS_WAITING_MAX, EventBus
from node.service import PeerEvent
from tests.waiting import until


async def _collect(bus: EventBus) -> list[PeerEvent]:
    return [event async for event in bus.listen()]


async def test_each_listener_gets_each_event() -> None:
    """From the moment on that it listens, in order, until the end."""
    bus = EventBus()
    bus.publish("member", {"id": "too early"})
    listeners = [asyncio.create_task(_collect(bus)) for _ in range(2)]
    await until(lambda: len(bus) == 2)
    bus.publish("leader", {"term": 1})
    bus.publish("role", {"term": 2})
    await asyncio.sleep(0)
    await until(lambda: all(queue.empty() for queue in bus._queues))
    bus.close()

    assert await asyncio.gather(*listeners) == [[PeerEvent("leader", {"term": 1}), PeerEvent("role", {"term": 2})]] * 2


async def test_a_slow_listener_is_cut_off() -> None:
    """Its queue is bounded; it has to come back, and others do not notice."""
    bus = EventBus()
    slow = bus.listen()
    first = asyncio.create_task(anext(slow))
    await until(lambda: len(bus) == 1)
    bus.publish("member", {})
    await first
    for _ in range(EVENTS_WAITING_MAX + 1):
        bus.publish("member", {})

    assert len(bus) == 0
    assert await anext(slow, None) is None


async def test_closing_ends_a_listener_whose_queue_is_full() -> None:
    """Nobody waits for ever when the peer stops."""
    bus = EventBus()
    full = bus.listen()
    first = asyncio.create_task(anext(full))
    await until(lambda: len(bus) == 1)
    bus.publish("member", {})
    await first
    for _ in range(EVENTS_WAITING_MAX):
        bus.publish("member", {})
    bus.close()
    bus.close()

    assert await anext(full, None) is None


async def test_a_listener_that_leaves_is_forgotten() -> None:
    """Nothing is kept for it."""
    bus = EventBus()
    leaving = bus.listen()
    waiting = asyncio.create_task(anext(leaving))
    await until(lambda: len(bus) == 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await leaving.aclose()

    assert len(bus) == 0
