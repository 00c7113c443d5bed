"""What was acknowledged is kept: through kills, a full disk, and many writers at once."""

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from node.ports import StoredRecord
from node.storage.record_file import connect
from node.storage.records import SqliteRecordStore
from protocol.errors import StoreError
from tests.node.storage.samples import everything_in, place_of, stored
from tests.node.storage.small_disk import REPOSITORY, on_small_disk

WRITER = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from node.storage.records import SqliteRecordStore
from tests.node.storage.samples import stored

async def write(store, writer, first):
    number = first
    while True:
        entries = [stored(f"{writer}/{number}/{part}", b"x" * 700, stamp=number + 1) for part in range(3)]
        await store.commit(entries)
        print(writer, number, flush=True)
        number += 1

async def main():
    with ThreadPoolExecutor(1) as executor:
        store = SqliteRecordStore(Path(sys.argv[1]), executor=executor)
        assert store.damage is None, store.damage
        await asyncio.gather(*(write(store, writer, int(sys.argv[2])) for writer in range(8)))

asyncio.run(main())
"""

FULL_DISK = """
import asyncio, json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from node.storage import space
from node.storage.records import SqliteRecordStore
from protocol.errors import DiskFull
from tests.node.storage.samples import stored

space.reserve_bytes = lambda size_bytes: 0  # other programs may take the last byte, whatever this one leaves

async def main(folder):
    ballast = folder / "ballast"
    ballast.write_bytes(bytes(1_500_000))
    acknowledged, refused, again = [], [], []
    with ThreadPoolExecutor(1) as executor:
        store = SqliteRecordStore(folder / "records.sqlite", executor=executor)

        async def put(key, answers):
            try:
                await store.commit([stored(key, b"x" * 20_000), stored(key + "/small")])
                answers.append(key)
            except DiskFull as error:
                assert error.next_step
                refused.append(key)

        number = 0
        while len(refused) < 10:
            await asyncio.gather(*(put(f"key/{number}/{writer}", acknowledged) for writer in range(4)))
            number += 1
        kept = all(store.read(stored(key).digest) and store.read(stored(key + "/small").digest) for key in acknowledged)
        half = [key for key in refused if store.read(stored(key).digest) or store.read(stored(key + "/small").digest)]
        ballast.unlink()
        missing = list(refused)
        await asyncio.gather(*(put(key, again) for key in missing))
        count = store.count()
        await store.close()
        store = SqliteRecordStore(folder / "records.sqlite", executor=executor)
        reopened, damage = store.count(), store.damage and str(store.damage)
        await store.close()
    print(json.dumps(dict(acknowledged=len(acknowledged), missing=len(missing), kept=kept, half=half, again=len(again),
        count=count, reopened=reopened, damage=damage)))

asyncio.run(main(Path(sys.argv[1])))
"""


@pytest.mark.processes
def test_every_acknowledged_commit_survives_kills(tmp_path: Path) -> None:
    """``kill -9`` at any moment: nothing acknowledged is lost, and no commit is there by half."""
    path = tmp_path / "records.sqlite"
    acknowledged: dict[str, int] = {}
    first = 0
    for round_number in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(first)], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
        )
        try:
            assert process.stdout is not None
            for _ in range(150 + 97 * round_number):
                writer, number = process.stdout.readline().split()
                acknowledged[writer] = int(number)
            process.send_signal(signal.SIGKILL)
            for line in process.stdout.read().splitlines(keepends=True):
                if line.endswith("\n"):
                    writer, number = line.split()
                    acknowledged[writer] = int(number)
        finally:
            process.kill()
            process.communicate(timeout=10)
        assert len(acknowledged) == 8
        check_writers(path, acknowledged, first)
        first = max(acknowledged.values()) + 100  # a writer may be ahead of what it said


def check_writers(path: Path, acknowledged: dict[str, int], first: int) -> None:
    async def check() -> None:
        store = SqliteRecordStore(path, executor=None)
        assert store.damage is None
        keys = {entry.record.key for entry in everything_in(store)}
        for writer, last in acknowledged.items():
            for number in range(first, last + 1):
                assert all(f"{writer}/{number}/{part}" in keys for part in range(3))
        whole = {key.rpartition("/")[0] for key in keys}
        assert len(keys) == 3 * len(whole)
        assert store.count() == len(keys)
        await store.close()

    asyncio.run(check())


@pytest.mark.processes
def test_full_disk_refuses_and_recovers(tmp_path: Path) -> None:
    """Nothing of a refused call is stored, what was acknowledged stays, and with space again all is stored."""
    answer = json.loads(on_small_disk(FULL_DISK, tmp_path, size_bytes=3_000_000))

    assert answer["acknowledged"] > 10
    assert answer["missing"] == answer["again"] >= 10
    assert answer["kept"] and answer["half"] == []
    assert answer["count"] == answer["reopened"] == 2 * (answer["acknowledged"] + answer["missing"])
    assert answer["damage"] is None


async def test_commits_asked_for_together_are_one_transaction(tmp_path: Path) -> None:
    """Group commit: those asked for at once go together, and so do those asked for while one is at work."""
    with ThreadPoolExecutor(1) as executor:
        store = SqliteRecordStore(tmp_path / "records.sqlite", executor=executor)
        await asyncio.gather(*(store.commit([stored(f"a/{number}")]) for number in range(64)))
        assert store.commit_count == 1

        late: list[asyncio.Future[object]] = []
        first = asyncio.ensure_future(store.commit([stored("first")]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        late = [asyncio.ensure_future(store.commit([stored(f"b/{number}")])) for number in range(50)]
        await asyncio.gather(first, *late)
        assert store.commit_count <= 3
        await store.close()


async def test_large_values_do_not_share_a_transaction(tmp_path: Path) -> None:
    """A transaction holds the event loop while it is filled, so its weight is bounded."""
    store = SqliteRecordStore(tmp_path / "records.sqlite", executor=None)
    await asyncio.gather(*(store.commit([stored(f"key/{number}", bytes(2**20))]) for number in range(5)))
    assert store.commit_count == 5
    await store.close()


async def test_failure_of_one_call_is_not_that_of_the_others(tmp_path: Path) -> None:
    """A call that cannot be stored fails alone, whole, and the writer goes on."""
    store = SqliteRecordStore(tmp_path / "records.sqlite", executor=None)
    bad = StoredRecord(place_of("bad"), stored("bad", stamp=2**63).record)

    answers = await asyncio.gather(
        store.commit([stored("a")]),
        store.commit([stored("b"), bad]),
        store.commit([stored("c")]),
        return_exceptions=True,
    )

    assert isinstance(answers[1], OverflowError)
    assert [len(answer) for answer in (answers[0], answers[2]) if not isinstance(answer, BaseException)] == [1, 1]
    assert [record.key for record in store.scan("")] == ["a", "c"]
    await store.close()


async def test_cancelled_caller_leaves_the_others_alone(tmp_path: Path) -> None:
    """Whoever no longer waits is passed over; everybody else is answered."""
    with ThreadPoolExecutor(1) as executor:
        store = SqliteRecordStore(tmp_path / "records.sqlite", executor=executor)
        tasks = [asyncio.ensure_future(store.commit([stored(f"key/{number}")])) for number in range(10)]
        await asyncio.sleep(0)
        tasks[3].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert isinstance(answers[3], asyncio.CancelledError)
        assert sum(isinstance(answer, list) for answer in answers) == 9
        await store.close()


async def test_file_held_by_another_program_is_named(tmp_path: Path) -> None:
    """A person who keeps a transaction open in the file is told of, and then everything goes on."""
    path = tmp_path / "records.sqlite"
    store = SqliteRecordStore(path, executor=None)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError) as caught:
            await store.commit([stored("key")])
        assert "records.sqlite" in caught.value.next_step
        other.execute("ROLLBACK")
    assert await store.commit([stored("key")])
    await store.close()


async def test_log_stays_small_and_goes_at_the_end(tmp_path: Path) -> None:
    """Writing the same records again and again grows neither the log nor the file without bound."""
    path = tmp_path / "records.sqlite"
    store = SqliteRecordStore(path, executor=None)
    sizes = []
    for stamp in range(1, 60):
        await store.commit([stored(f"key/{number}", os.urandom(20_000), stamp=stamp) for number in range(10)])
        sizes.append(path.with_name("records.sqlite-wal").stat().st_size)
    assert max(sizes) < 5 * 2**20
    await store.close()
    assert not path.with_name("records.sqlite-wal").exists()
    assert path.stat().st_size < 2**20


async def test_set_aside_records_can_be_seen_by_a_person(tmp_path: Path) -> None:
    """In the table ``set_aside``, with their keys; the oldest go first when there are too many."""
    path = tmp_path / "records.sqlite"
    store = SqliteRecordStore(path, executor=None)
    await store.commit([stored("a"), stored("b")])
    await store.set_aside([stored("a"), stored("b")])
    await store.close()

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT key, kind, size FROM set_aside ORDER BY id").fetchall() == [
            ("a", "value", 5),
            ("b", "value", 5),
        ]


async def test_number_of_records_set_aside_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Islands that meet every day do not fill the disk."""
    monkeypatch.setattr("node.storage.record_tables.SET_ASIDE_RECORDS_MAX", 3)
    path = tmp_path / "records.sqlite"
    store = SqliteRecordStore(path, executor=None)
    for number in range(8):
        entry = stored(f"key/{number}")
        await store.commit([entry])
        await store.set_aside([entry])
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT key FROM set_aside ORDER BY id").fetchall() == [
            ("key/5",),
            ("key/6",),
            ("key/7",),
        ]


def test_commits_wait_for_the_disk(tmp_path: Path) -> None:
    """A power cut loses nothing that was acknowledged: each commit syncs the log."""
    asyncio.run(SqliteRecordStore(tmp_path / "records.sqlite", executor=None).close())
    with closing(connect(tmp_path / "records.sqlite")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA fullfsync").fetchone() == (1,)


def test_file_is_private(tmp_path: Path) -> None:
    """Records may be secrets of the network; other users of the machine see nothing, whatever the umask."""
    before = os.umask(0)
    try:
        store = SqliteRecordStore(tmp_path / "records.sqlite", executor=None)
        asyncio.run(store.commit([stored("key")]))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        asyncio.run(store.close())
    finally:
        os.umask(before)
    assert modes == {"records.sqlite": 0o600, "records.sqlite-wal": 0o600, "records.sqlite-shm": 0o600}
