"""Keeps the members on disk, so that a peer that starts again finds its network without any seed."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from protocol.errors import StoreError
from protocol.statements import Descriptor

_PAUSE_S: Final = 2.0
"""Members are written at most this often: a mass join is one write."""

_log = logging.getLogger("pair.remembering")


class Remembering:
    """Writes the living members a moment after they changed, and once more at the end."""

    def __init__(
        self, *, living: Callable[[], Sequence[Descriptor]], save: Callable[[Sequence[Descriptor]], None]
    ) -> None:
        self._living = living
        self._save = save
        self._timer: asyncio.TimerHandle | None = None

    def changed(self) -> None:
        """Note that the members changed."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE_S, self._write)

    def close(self) -> None:
        """Write what is still unwritten. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._write()

    def _write(self) -> None:
        self._timer = None
        try:
            self._save(self._living())
        except StoreError as error:
            # The next start will need a seed or zeroconf; nothing that was promised is lost.
            _log.warning("remembered peers were not written: %s", error)
