"""Files that survive: private, atomic, synced; and what the operating system says, as our own errors.

Everything is created with mode 0600 in folders of mode 0700, in the call that creates it: there is no moment in
which another user could read it. ``OSError`` never leaves these functions.
"""

import errno
import os
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from protocol.errors import ConfigError, DiskFull, StoreError

FILE_SIZE_MAX_BYTES: Final = 2**24
"""Largest file read in one piece, 16 MiB: the longest, ``peer.json``, stays under one."""

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
_IN_THE_WAY: Final = (errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
_ROOT: Final = 0
_BEYOND_GROUP_READING: Final = 0o037
_NO_LINKS: Final = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EPERM, errno.EMLINK)


def make_private_folder(path: Path) -> None:
    """Create ``path``, and parents that are missing, with mode 0700; an existing folder stays as it is.

    Raises:
        StoreError: It cannot be created, or a file is in the way.
    """
    with os_errors(f"create the folder {path}"):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            with suppress(FileExistsError):  # another process may create it at the same time
                folder.mkdir(mode=0o700)
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))


def read_private(path: Path) -> bytes | None:
    """Return the content of a secret file, or None when there is none.

    It belongs to this user, and to nobody else; or to root, and a group may read it.

    Raises:
        ConfigError: Group or others may read it, or another user owns it.
        StoreError: It cannot be read, is no regular file or is over ``FILE_SIZE_MAX_BYTES``.
    """
    return _read(path, is_secret=True)


def read_file(path: Path) -> bytes | None:
    """Return the content of a file, or None when there is none.

    Raises:
        StoreError: It cannot be read, is no regular file or is over ``FILE_SIZE_MAX_BYTES``.
    """
    return _read(path, is_secret=False)


def create_once(path: Path, content: bytes) -> bool:
    """Create ``path`` with ``content``, whole and synced; return False, changing nothing, when it exists.

    Of several processes that do so at once exactly one gets True.

    Raises:
        StoreError: It cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.new")
    with os_errors(f"write {path}"):
        try:
            _write_new(temporary, content)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                raise StoreError(
                    f"cannot create {path}: this file system has no hard links",
                    next_step="set PAIR_HOME to a folder on another file system",
                ) from error
        finally:
            temporary.unlink(missing_ok=True)
    sync_folder(path.parent)
    return True


def replace_file(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content``: after a crash at any moment either the old or the new one is there, whole.

    The caller holds the lock of the folder: one writer at a time.

    Raises:
        StoreError: It cannot be written; the old content is still there.
    """
    temporary = path.with_name(f".{path.name}.new")
    with os_errors(f"write {path}"):
        try:
            temporary.unlink(missing_ok=True)  # left behind by a writer that was killed
            _write_new(temporary, content)
            temporary.replace(path)
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make created, renamed and removed names in ``path`` durable.

    Raises:
        StoreError: The folder cannot be synced.
    """
    with os_errors(f"sync the folder {path}"):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def set_aside(path: Path, *, companions: Sequence[str] = ()) -> Path:
    """Rename a damaged file to ``<name>.damaged-<unix time>`` and return the new path.

    Args:
        companions: Endings, such as ``-wal``, of files that belong to it and move along where they exist.

    Raises:
        StoreError: It cannot be renamed.
    """
    moment = int(time.time())
    while (target := path.with_name(f"{path.name}.damaged-{moment}")).exists():
        moment += 1
    with os_errors(f"set {path} aside"):
        for ending in companions:
            with suppress(FileNotFoundError):
                path.with_name(path.name + ending).rename(target.with_name(target.name + ending))
        path.rename(target)
    sync_folder(path.parent)
    return target


@contextmanager
def os_errors(doing: str) -> Iterator[None]:
    """Turn an ``OSError`` of the block into a ``StoreError`` that says what could not be done, and what to do."""
    try:
        yield
    except OSError as error:
        raise store_error(error, doing) from error


def store_error(error: OSError, doing: str) -> StoreError:
    """Return our error for ``error``; ``doing`` completes "cannot …"."""
    if error.errno in _FULL:
        return DiskFull(f"cannot {doing}: the disk is full", next_step="free some space and try again")
    if error.errno in _FORBIDDEN:
        step = "make the folder writable for this user, or set PAIR_HOME to one that is"
    elif error.errno in _IN_THE_WAY:
        step = "move what is in the way, or set PAIR_HOME to another folder"
    else:
        step = "check the disk, or set PAIR_HOME to another folder"
    return StoreError(f"cannot {doing}: {error.strerror or error}", next_step=step)


def _read(path: Path, *, is_secret: bool) -> bytes | None:
    with os_errors(f"read {path}"):
        try:
            # Without blocking: a named pipe in the place of the file would otherwise wait for a writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise StoreError(f"{path} is no regular file", next_step="move what is in the way")
            if is_secret:
                _check_private(path, status)
            # By its size: a read of "at most 16 MiB" would first set that much memory aside.
            content = file.read(min(status.st_size, FILE_SIZE_MAX_BYTES) + 1)
    if len(content) > FILE_SIZE_MAX_BYTES:
        raise StoreError(f"{path} is over {FILE_SIZE_MAX_BYTES} bytes", next_step="restore the file from a copy")
    return content


def _check_private(path: Path, status: os.stat_result) -> None:
    if status.st_uid == _ROOT != os.geteuid() and not status.st_mode & _BEYOND_GROUP_READING:
        return  # only root can put it there; the group is how secrets are handed to a container's user
    if status.st_uid != os.geteuid():
        raise ConfigError(
            f"{path} belongs to another user (uid {status.st_uid})",
            next_step=f"run as that user, or make a copy of the file that belongs to uid {os.geteuid()}",
        )
    if status.st_mode & 0o077:
        raise ConfigError(
            f"{path} holds a secret, and other users may access it (mode {stat.S_IMODE(status.st_mode):04o})",
            next_step=f"chmod 600 {path}",
        )


def _write_new(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
