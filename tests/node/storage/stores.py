"""Opens each implementation of ``node.ports.RecordStore``, for tests that must hold on all of them."""

from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from node.ports import RecordStore
from node.storage.records import SqliteRecordStore
from simulations.memory_records import MemoryRecordStore

Opener = Callable[[Path], AbstractAsyncContextManager[RecordStore]]


@asynccontextmanager
async def in_memory(path: Path) -> AsyncIterator[RecordStore]:
    yield MemoryRecordStore()


@asynccontextmanager
async def on_disk(path: Path) -> AsyncIterator[RecordStore]:
    with ThreadPoolExecutor(1) as executor:
        store = SqliteRecordStore(path, executor=executor)
        try:
            yield store
        finally:
            await store.close()


@asynccontextmanager
async def on_disk_without_thread(path: Path) -> AsyncIterator[RecordStore]:
    store = SqliteRecordStore(path, executor=None)
    try:
        yield store
    finally:
        await store.close()


OPENERS: tuple[Opener, ...] = (in_memory, on_disk, on_disk_without_thread)
