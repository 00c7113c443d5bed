"""A few places per host, shared by the peers that run from one folder.

A place is an advisory lock on a small file: the operating system gives it back when its process dies, so no
peer must clean up after another. The files stay behind, empty.
"""

import fcntl
import os
from pathlib import Path


class HostSlots:
    """At most ``count`` processes on this host hold a slot of ``<folder>/<name>-<i>.lock`` at a time.

    Peers that run from different folders do not see each other's slots.
    """

    def __init__(self, folder: Path, name: str, *, count: int) -> None:
        self._paths = [folder / f"{name}-{index}.lock" for index in range(count)]
        self._descriptor: int | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process holds a slot."""
        return self._descriptor is not None

    def acquire(self) -> bool:
        """Take a free slot unless one is held already; return whether one is held now. Never waits.

        Raises:
            OSError: The folder cannot be written.
        """
        for path in self._paths:
            if self._descriptor is not None:
                break
            self._descriptor = _locked(path)
        return self.is_held

    def release(self) -> None:
        """Give the slot back. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _locked(path: Path) -> int | None:
    """Return a descriptor that holds the lock on ``path``, or None when another process has it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
