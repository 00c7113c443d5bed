"""A disk that is really small under a running peer: a tmpfs in a mount namespace that ends with its holder."""

import contextlib
import errno
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Home

_HOLD = """
set -e
mount -t tmpfs -o size="$2",mode=0700 tmpfs "$1"
echo mounted
exec cat
"""


class SmallDisk:
    """The folder of one peer on a disk of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Where this process sees it."""

        self._filler = folder / "filler"

    def fill(self) -> None:
        """Leave not one byte free."""
        with self._filler.open("wb", buffering=0) as file:
            for size in (2**16, 2**12, 1):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(size))
        try:
            (self.folder / "more").write_bytes(bytes(2**12))
        except OSError as error:
            assert error.errno == errno.ENOSPC
        else:
            raise AssertionError("the disk is not full")
        finally:
            (self.folder / "more").unlink(missing_ok=True)

    def free(self) -> None:
        """Give the space back."""
        self._filler.unlink(missing_ok=True)


@contextlib.contextmanager
def home_with_small_disk(folder: Path, peer: str, *, size_bytes: int) -> Iterator[tuple[Home, SmallDisk]]:
    """Give a home in which the folder of ``peer`` is a small disk; skip where nothing may be mounted."""
    place = folder / "local" / peer
    place.mkdir(parents=True, mode=0o700)
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("needs unshare and nsenter")
    holder = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", _HOLD, "sh", str(place), str(size_bytes)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert holder.stdin is not None and holder.stdout is not None
    try:
        if holder.stdout.readline() != b"mounted\n":
            pytest.skip("needs the right to mount a tmpfs in a namespace of its own (root)")
        seen = Path(f"/proc/{holder.pid}/root{folder}")
        home = Home(seen, inside=["nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--"])
        home.environment["PAIR_HOME"] = str(folder)
        try:
            yield home, SmallDisk(seen / "local" / peer)
        finally:
            home.close()
    finally:
        holder.stdin.close()  # the holder ends, and with the last process in it the disk
        holder.wait(10)
        holder.stdout.close()
