"""Runs a program on a disk that is really small: a tmpfs in a mount namespace of its own, which ends with it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[3]
"""Where programs run, so that they find this package and the one under test."""

_MOUNT_AND_RUN = """
set -e
mount -t tmpfs -o size="$2",mode=0700 tmpfs "$1"
exec "$3" -c "$4" "$1"
"""


def on_small_disk(program: str, folder: Path, *, size_bytes: int) -> str:
    """Run a Python program with the path of an empty disk as its argument; return what it prints.

    Skips the test where the machine does not let us mount anything.
    """
    if not _can_mount(folder):
        pytest.skip("needs the right to mount a tmpfs in a namespace of its own (root)")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", _MOUNT_AND_RUN, "sh", str(folder), str(size_bytes), sys.executable, program],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _can_mount(folder: Path) -> bool:
    if shutil.which("unshare") is None or shutil.which("mount") is None:
        return False
    mount = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", str(folder)]
    return subprocess.run(mount, capture_output=True, timeout=10).returncode == 0
