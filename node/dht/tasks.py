"""Tasks with an owner: none is lost, none outlives it, and their number is bounded."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from node.errors import OperationError
from protocol.errors import StoreError

_GIVE_WAY_S: Final = 0.002
_GIVE_WAY_MAX_S: Final = 0.1
_LATE_FACTOR: Final = 4

_log = logging.getLogger("pair.dht")


class OwnedTasks:
    """Owns tasks that run beside their starter; ``close`` cancels and awaits them all."""

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether ``start`` would refuse."""
        return self._closed or len(self._tasks) >= self._limit

    def start(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None] | None:
        """Run ``coroutine`` in a task of ours; return None, and run nothing, when there are too many."""
        if self.is_full:
            coroutine.close()
            return None
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    async def close(self) -> None:
        """Cancel all tasks and wait for their end. Idempotent."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a task of the DHT failed: %r", error, exc_info=error)


async def repeated(step: Callable[[], Awaitable[None]], *, pause_s: float) -> None:
    """Do ``step`` again and again; a disk that fails only delays it."""
    while True:
        try:
            await step()
        except StoreError as error:
            _log.warning("the store of records failed: %s", error)
            await asyncio.sleep(pause_s)


async def give_way() -> None:
    """Let users' reads and writes run first: pause, and several times as long again as the pause came late.

    A pause comes late where this loop, or the machine under all its peers, has too much to do.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + _GIVE_WAY_S
    await asyncio.sleep(_GIVE_WAY_S)
    late_s = loop.time() - due
    if late_s > _GIVE_WAY_S:  # loops may tell whole milliseconds only
        await asyncio.sleep(min(_GIVE_WAY_MAX_S, _LATE_FACTOR * late_s))


async def take_turn(slots: asyncio.Semaphore, deadline: float) -> None:
    """Take one of ``slots``; the caller releases it. ``deadline`` is in the loop's time.

    Raises:
        OperationError: ``too-many-requests``: those before took too long.
    """
    if not slots.locked():
        await slots.acquire()
        return
    try:
        async with asyncio.timeout_at(deadline):
            await slots.acquire()
    except TimeoutError as error:
        raise OperationError(
            "too-many-requests", "other operations took all the time", next_step="try again, or ask another peer"
        ) from error
