"""What happens in a peer, told to whoever listens (``GET /v1/events``), with bounded queues."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from node.service import PeerEvent

_QUEUE_MAX: Final = 1024
"""Events kept for one slow listener; beyond that it is cut off and has to come back."""


class EventBus:
    """Gives each event to every listener."""

    def __init__(self) -> None:
        self._queues: list[asyncio.Queue[PeerEvent | None]] = []

    def publish(self, kind: str, body: Mapping[str, Any]) -> None:
        """Tell all listeners; one that is too slow is cut off rather than waited for."""
        for queue in list(self._queues):
            if queue.full():
                self._queues.remove(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)
            else:
                queue.put_nowait(PeerEvent(kind, body))

    async def listen(self) -> AsyncIterator[PeerEvent]:
        """Yield events from now on, until closed or cut off."""
        queue: asyncio.Queue[PeerEvent | None] = asyncio.Queue(_QUEUE_MAX)
        self._queues.append(queue)
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            if queue in self._queues:
                self._queues.remove(queue)

    def close(self) -> None:
        """End all listeners."""
        for queue in self._queues:
            if not queue.full():
                queue.put_nowait(None)
        self._queues.clear()
