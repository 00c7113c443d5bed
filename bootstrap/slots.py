"""A few places per host, shared by the peers that run from one folder; a place ends with its process."""

from pathlib import Path

from bootstrap.locks import FolderInUse, FolderLock


class HostSlots:
    """At most ``count`` processes on this host hold a slot ``<folder>/<name>-<i>.lock`` at a time.

    Peers that run from different folders do not see each other's slots.
    """

    def __init__(self, folder: Path, name: str, *, count: int) -> None:
        self._paths = [folder / f"{name}-{index}.lock" for index in range(count)]
        self._lock: FolderLock | None = None

    def acquire(self) -> bool:
        """Take a free slot unless one is held already; return whether one is held now. Never waits.

        Raises:
            StoreError: The folder cannot be written.
        """
        for path in self._paths:
            if self._lock is not None:
                break
            try:
                self._lock = FolderLock(path, purpose="the slot is taken", next_step="")
            except FolderInUse:
                continue
        return self._lock is not None

    def release(self) -> None:
        """Give the slot back. Idempotent."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
