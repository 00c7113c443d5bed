"""Group commit: what is asked for while one transaction is on its way to the disk goes with the next one.

The statements of a transaction run on the event loop, where they cost microseconds and wait for nothing; only the
commit, which waits for the disk, runs in a thread. So the thread needs the interpreter once for each transaction,
not once for each statement, and a busy loop does not slow the disk down.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from node.storage.sqlite_errors import SQLITE_ERRORS, SqliteError, store_error_of
from protocol.errors import StoreError

_WEIGHT_MAX_BYTES: Final = 2**18
"""One transaction takes calls until they weigh so much: it holds the event loop for some two milliseconds."""

ResultT = TypeVar("ResultT")


@dataclass(slots=True)
class _Call:
    work: Callable[[], Any]
    weight_bytes: int
    done: asyncio.Future[Any]
    is_alone: bool = False
    """Whether it was in a transaction that failed: it then gets one of its own, since another may be to blame."""


class GroupCommit:
    """The one writer of a database.

    Invariants:
        1. A transaction is open only between ``_begin_group`` and the end of its commit, and never two at once.
        2. A call is answered after the transaction with its work was committed or rolled back, never before.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, *, executor: Executor | None) -> None:
        """Write through ``connection``, which nobody else uses; without an executor commits wait on the loop."""
        self._connection = connection
        self._path = path
        self._executor = executor
        self._waiting: deque[_Call] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._closed = False
        self.commit_count = 0
        """Transactions that were committed."""

    async def run(self, work: Callable[[], ResultT], *, weight_bytes: int) -> ResultT:
        """Run ``work`` inside a transaction and return its result once that is durable.

        A caller that is cancelled does not learn whether its work was done.

        Raises:
            StoreError: Nothing of ``work`` is stored.
        """
        if self._closed:
            raise StoreError(f"{self._path.name} is closed", next_step="ask another peer: this one is ending")
        call = _Call(work, weight_bytes, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._idle.is_set():
            self._idle.clear()
            # Not at once: what others ask for in the same turn of the loop goes along.
            asyncio.get_running_loop().call_soon(self._begin_group)
        result: ResultT = await call.done
        return result

    async def close(self) -> None:
        """Refuse further calls, and wait until those asked for are answered. Idempotent."""
        self._closed = True
        await self._idle.wait()

    def _begin_group(self) -> None:
        group = self._next_group()
        if not group:
            self._idle.set()
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            results = [call.work() for call in group]
        except Exception as error:  # whatever the work of a call raises belongs to its caller
            self._group_ended(group, [], error)
            return
        if self._executor is None:
            self._group_ended(group, results, self._commit())
            return
        commit = asyncio.get_running_loop().run_in_executor(self._executor, self._commit)
        commit.add_done_callback(lambda done: self._group_ended(group, results, done.result()))

    def _next_group(self) -> list[_Call]:
        group: list[_Call] = []
        weight_bytes = 0
        while self._waiting:
            call = self._waiting[0]
            if group and (call.is_alone or group[0].is_alone or weight_bytes + call.weight_bytes > _WEIGHT_MAX_BYTES):
                break
            self._waiting.popleft()
            if not call.done.cancelled():
                group.append(call)
                weight_bytes += call.weight_bytes
        return group

    def _commit(self) -> SqliteError | None:
        try:
            self._connection.execute("COMMIT")
        except SQLITE_ERRORS as error:
            return error
        return None

    def _group_ended(self, group: list[_Call], results: list[Any], error: Exception | None) -> None:
        if error is None:
            self.commit_count += 1
            for call, result in zip(group, results, strict=True):
                if not call.done.done():
                    call.done.set_result(result)
        else:
            self._roll_back()
            self._group_failed(group, error)
        asyncio.get_running_loop().call_soon(self._begin_group)

    def _group_failed(self, group: list[_Call], error: Exception) -> None:
        if len(group) > 1:
            for call in reversed(group):
                call.is_alone = True
                self._waiting.appendleft(call)
        elif not group[0].done.done():
            if isinstance(error, SQLITE_ERRORS):
                cause = store_error_of(error, self._path, f"write {self._path}")
                cause.__cause__ = error
                error = cause
            group[0].done.set_exception(error)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                # SQLite rolls back by itself after some errors. If a transaction is still open in spite of that, the
                # next BEGIN fails, and so does every write: nothing is acknowledged that is not stored.
                return
