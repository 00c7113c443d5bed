"""Discovery of the local network in the virtual world: the port that zeroconf fills in the real one.

Each host that announces is found by every other a moment later. As with the real thing, what is found is a hint, the
announcement of a crashed peer stays for long, and hosts behind a cut are not heard of.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Final

from bootstrap.discovery import CANDIDATE_PAUSE_S, FoundCallback
from protocol.statements import Address

_HEARD_AFTER_S: Final = 0.05
_LOOK_EVERY_S: Final = 1.0


class Neighbourhood:
    """The local network segment: who announced, in order."""

    def __init__(self) -> None:
        self.announced: dict[Address, None] = {}


class VirtualDiscovery:
    """Implements ``bootstrap.discovery.Discovery`` for one run of one peer."""

    def __init__(self, neighbourhood: Neighbourhood, own: Address, hears: Callable[[Address], bool]) -> None:
        """Announce ``own``; ``hears`` tells whether an announcement gets through to this host at the moment."""
        self._neighbourhood = neighbourhood
        self._own = own
        self._hears = hears
        self._task: asyncio.Task[None] | None = None
        self._is_alone = True

    @property
    def available(self) -> bool:
        """Always."""
        return True

    async def start(self, on_found: FoundCallback) -> None:
        """Announce, and look for others while this peer is alone."""
        self._neighbourhood.announced[self._own] = None
        self._task = asyncio.get_running_loop().create_task(self._look(on_found))

    def set_alone(self, alone: bool) -> None:
        """Say whether this peer has met any other."""
        self._is_alone = alone

    async def stop(self) -> None:
        """Withdraw the announcement."""
        self._neighbourhood.announced.pop(self._own, None)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _look(self, on_found: FoundCallback) -> None:
        await asyncio.sleep(_HEARD_AFTER_S)
        while True:
            found = [address for address in self._neighbourhood.announced if address != self._own]
            random.shuffle(found)
            for address in found:
                if not self._is_alone:
                    break
                if self._hears(address):
                    on_found(address)
                    await asyncio.sleep(CANDIDATE_PAUSE_S)
            await asyncio.sleep(_LOOK_EVERY_S)
