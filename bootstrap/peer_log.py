"""The log of a peer that runs without a terminal: ``peer.log``, bounded, with the run before it in ``peer.log.1``."""

import os
from pathlib import Path
from typing import Final

from bootstrap.files import make_private_folder, os_errors

LOG_SIZE_MAX_BYTES: Final = 2**22
"""4 MiB: weeks of an ordinary peer; a flood of warnings costs two files of this size at most."""

_OUTPUTS: Final = (1, 2)


def attach_log(path: Path) -> None:
    """Send standard output and standard error of this process to the end of ``path``.

    A log that is full becomes ``<name>.1``, in the place of an older one.

    Raises:
        StoreError: It cannot be written.
    """
    make_private_folder(path.parent)
    with os_errors(f"write {path}"):
        if path.exists() and path.stat().st_size >= LOG_SIZE_MAX_BYTES:
            path.replace(path.with_name(path.name + ".1"))
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for output in _OUTPUTS:
                os.dup2(descriptor, output)
        finally:
            os.close(descriptor)


def is_log_full() -> bool:
    """Return whether what this process writes its errors to has grown over the limit."""
    return os.fstat(2).st_size >= LOG_SIZE_MAX_BYTES
