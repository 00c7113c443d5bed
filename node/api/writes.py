"""Operations that outlive their client: a write that began is never cut in half by a lost connection."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from node.errors import OperationError

_T = TypeVar("_T")
OVERTIME_S = 1.0
"""What an operation gets beyond its own timeout before it is cancelled from outside."""

_logger = logging.getLogger(__name__)


class OwnedWrites:
    """Owns the task of each write; ``close`` ends them all."""

    def __init__(self, *, limit: int, overtime_s: float = OVERTIME_S) -> None:
        self._limit = limit
        self._overtime_s = overtime_s
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._closed = False

    def __len__(self) -> int:
        """Writes at work."""
        return len(self._tasks)

    async def run(self, operation: Callable[[], Awaitable[_T]], *, timeout_s: float) -> _T:
        """Run ``operation`` in a task of ours and return its result; the caller's end does not end it.

        Raises:
            OperationError: What the operation raised, ``outcome-unknown`` when it overran, ``too-many-requests``
                or ``not-ready`` when it was not begun.
        """
        if self._closed:
            raise OperationError("not-ready", "this peer is stopping", next_step="ask another peer")
        if len(self._tasks) >= self._limit:
            raise OperationError("too-many-requests", f"{self._limit} writes are at work", next_step="try again")
        task = asyncio.create_task(_bounded(operation, timeout_s, timeout_s + self._overtime_s))
        self._tasks[task] = None
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    async def close(self, *, grace_s: float) -> None:
        """Let writes at work end for up to ``grace_s``, then cancel them."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace_s)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace_s)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        if not task.cancelled():
            task.exception()  # Looked at here, since the client may have gone.


async def _bounded(operation: Callable[[], Awaitable[_T]], timeout_s: float, cancelled_after_s: float) -> _T:
    try:
        async with asyncio.timeout(cancelled_after_s):
            return await operation()
    except OperationError:
        raise
    except TimeoutError as error:
        raise OperationError(
            "outcome-unknown", f"no answer within {timeout_s:g} s", next_step="read it back, or write it again"
        ) from error
    except Exception as error:
        _logger.exception("a write failed")
        raise OperationError("internal", "the peer could not do this", next_step="see the peer's log") from error
