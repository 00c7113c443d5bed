"""What happens in a peer, told to whoever listens (``GET /v1/events``), with bounded queues."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from node.service import PeerEvent

EVENTS_WAITING_MAX: Final = 1024
"""Events kept for one slow listener; beyond that it is cut off and has to come back."""

_Queue = asyncio.Queue[PeerEvent | None]
"""What waits for one listener; None is the end."""


class EventBus:
    """Gives each event to every listener."""

    def __init__(self) -> None:
        self._queues: list[_Queue] = []

    def __len__(self) -> int:
        """Return how many listen."""
        return len(self._queues)

    def publish(self, kind: str, body: Mapping[str, Any]) -> None:
        """Tell all listeners; one that is too slow is cut off rather than waited for."""
        for queue in list(self._queues):
            if queue.full():
                self._cut_off(queue)
            else:
                queue.put_nowait(PeerEvent(kind, body))

    async def listen(self) -> AsyncGenerator[PeerEvent, None]:
        """Yield events from now on, until closed or cut off."""
        queue: _Queue = asyncio.Queue(EVENTS_WAITING_MAX)
        self._queues.append(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            if queue in self._queues:
                self._queues.remove(queue)

    def close(self) -> None:
        """End all listeners; what waits for them is dropped."""
        for queue in list(self._queues):
            self._cut_off(queue)

    def _cut_off(self, queue: _Queue) -> None:
        self._queues.remove(queue)
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(None)
