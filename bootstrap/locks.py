"""Locks that end with their process (``flock``): one peer on a folder, one ``up`` on a network."""

import errno
import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bootstrap.files import os_errors
from protocol.errors import ConfigError

_HELD: Final = (errno.EWOULDBLOCK, errno.EACCES)
_PID_SIZE_MAX: Final = 20


class FolderInUse(ConfigError):
    """Another process holds the lock.

    Attributes:
        pid: That process, or None when it has not said so yet.
    """

    def __init__(self, cause: str, *, pid: int | None, next_step: str) -> None:
        super().__init__(cause, next_step=next_step)
        self.pid = pid


class FolderLock:
    """An exclusive lock on a file, held until ``release`` or the end of the process, however it ends.

    The file stays when the lock is released: removing it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path, *, purpose: str, next_step: str) -> None:
        """Take the lock.

        Args:
            path: The lock file, created with mode 0600 in an existing folder.
            purpose: What the holder does, for the message to the others: "peer-1 already runs".

        Raises:
            FolderInUse: Another process (or another lock object) holds it.
            StoreError: The file cannot be created.
        """
        with os_errors(f"lock {path}"):
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, b"%d\n" % os.getpid(), 0)
            except OSError as error:
                pid = _pid_in(self._descriptor)
                self.release()
                if error.errno not in _HELD:
                    raise
                holder = f"process {pid}" if pid is not None else "another process"
                raise FolderInUse(f"{purpose} ({holder} holds {path})", pid=pid, next_step=next_step) from error

    def fileno(self) -> int:
        """Return the open descriptor: forked processes that keep it hold the lock too, until the last one closes it."""
        assert self._descriptor is not None, "the lock was released"
        return self._descriptor

    def release(self) -> None:
        """Give the lock up. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def is_locked(path: Path) -> bool:
    """Return whether a process, of this container or another, holds the lock.

    Looking takes a share of a free lock for that moment, in which a process that wants it is refused: look seldom.

    Raises:
        StoreError: It cannot be read.
    """
    with os_errors(f"read {path}"):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in _HELD:
                raise
            return True
        finally:
            os.close(descriptor)
    return False


def _pid_in(descriptor: int) -> int | None:
    text = os.pread(descriptor, _PID_SIZE_MAX, 0).strip()
    return int(text) if text.isdigit() else None
