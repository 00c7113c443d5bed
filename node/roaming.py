"""Follows the address of this machine: a laptop gets another one with each network that it is carried into.

Only a peer that listens on all interfaces, and was not told what to advertise, can go on at another address. It looks
every other second; what the look finds is for the core to tell the others.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from protocol.statements import Address

LOOK_EVERY_S: Final = 2.0
"""Asking the system for its addresses costs microseconds; a connection over a new network takes seconds to come up."""

CONTACTS_MAX: Final = 8
"""Members whose way decides between several addresses."""

_log = logging.getLogger("pair.roaming")


class Roaming:
    """Owns the task that looks."""

    def __init__(
        self,
        *,
        current: Callable[[], str],
        contacts: Callable[[], Sequence[Address]],
        look: Callable[[str, Sequence[Address]], str],
        moved: Callable[[str], None],
    ) -> None:
        """Look at nothing yet.

        Args:
            current: Returns the address that others are told just now.
            contacts: Returns whom this machine is to reach, the most important first.
            look: See ``node.adapters.Adapters.present_address``.
            moved: Takes another address when there is one.
        """
        self._current = current
        self._contacts = contacts
        self._look = look
        self._moved = moved
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.get_running_loop().create_task(self._follow(), name="roaming")

    async def stop(self) -> None:
        """Look no more. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            before = self._current()
            host = self._look(before, self._contacts()[:CONTACTS_MAX])
            if host != before:
                _log.warning("this machine moved from %s to %s: the others are told", before, host)
                self._moved(host)
