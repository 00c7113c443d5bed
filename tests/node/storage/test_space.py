"""A peer stops storing before the disk is full, takes deletes all the same, and goes on by itself."""

import os
from pathlib import Path

import pytest

from node.storage import space
from node.storage.records import SqliteRecordStore
from node.storage.space import check_space, reserve_bytes
from protocol.errors import DiskFull, StoreError
from tests.node.storage.samples import place_of, stored

MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("disk_mib", "reserve_mib"),
    [(4, 2), (100, 50), (256, 64), (1000, 64), (2000, 100), (20_000, 1000), (2_000_000, 4096)],
)
def test_reserve_is_a_twentieth_within_bounds(disk_mib: int, reserve_mib: int) -> None:
    """5 %, between 64 MiB and 4 GiB, at most half of a small disk (threats, storage exhaustion)."""
    assert reserve_bytes(disk_mib * MEBIBYTE) == reserve_mib * MEBIBYTE


def disk_of(free_mib: int, size_mib: int = 1000) -> os.statvfs_result:
    return os.statvfs_result((4096, MEBIBYTE, size_mib, free_mib, free_mib, 0, 0, 0, 0, 255))


async def test_nearly_full_disk_takes_deletes_only_and_recovers_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Below the reserve nothing new is stored; with space again everything is, without a restart."""
    store = SqliteRecordStore(tmp_path / "records.sqlite", executor=None)
    await store.commit([stored("kept")])
    free_mib = 63
    monkeypatch.setattr(space.os, "statvfs", lambda folder: disk_of(free_mib))

    with pytest.raises(DiskFull, match="63 MiB are free, 64 MiB are kept free"):
        await store.commit([stored("more")])
    with pytest.raises(DiskFull):
        await store.commit([stored("kept", stamp=2, is_tombstone=True), stored("more")])
    assert (store.read(place_of("more")), store.count()) == (None, 1)

    await store.commit([stored("kept", stamp=2, is_tombstone=True)])
    assert store.count() == 0
    free_mib = 64
    await store.commit([stored("more")])
    assert store.count() == 1
    await store.close()


def test_folder_that_is_gone_is_a_clear_error(tmp_path: Path) -> None:
    """It names the folder and says what to do."""
    with pytest.raises(StoreError, match="gone") as caught:
        check_space(tmp_path / "gone")
    assert caught.value.next_step
