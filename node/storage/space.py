"""How much of a disk a peer leaves free: it stops storing before the disk is full, and goes on once there is space.

A full disk harms more than this peer: logs, databases of other programs, and the votes and documents that it needs to
go on itself. Deletes are taken all the same, since they are small and make room.
"""

import os
from pathlib import Path
from typing import Final

from protocol.errors import DiskFull, StoreError

RESERVE_SHARE: Final = 0.05
RESERVE_MIN_BYTES: Final = 64 * 2**20
RESERVE_MAX_BYTES: Final = 4 * 2**30
"""A twentieth of a large disk is more than anybody needs to go on."""


def reserve_bytes(disk_size_bytes: int) -> int:
    """Return what must stay free: 5 %, between 64 MiB and 4 GiB; on a small disk at most half of it."""
    reserve = min(max(disk_size_bytes * RESERVE_SHARE, RESERVE_MIN_BYTES), RESERVE_MAX_BYTES)
    return int(min(reserve, disk_size_bytes / 2))


def check_space(folder: Path) -> None:
    """Let somebody store more on the disk of ``folder``, or raise.

    Raises:
        DiskFull: It is nearly full.
        StoreError: The folder is gone.
    """
    try:
        disk = os.statvfs(folder)
    except OSError as error:
        raise StoreError(
            f"cannot look at {folder}: {error.strerror}", next_step="check the disk, then restart the peer"
        ) from error
    free, reserve = disk.f_bavail * disk.f_frsize, reserve_bytes(disk.f_blocks * disk.f_frsize)
    if free < reserve:
        raise DiskFull(
            f"the disk of {folder} is nearly full: {free // 2**20} MiB are free, {reserve // 2**20} MiB are kept free",
            next_step="free some space and try again",
        )
