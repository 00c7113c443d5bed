"""Discovery of the local network in the virtual world: the port that zeroconf fills in the real one.

As with the real thing, the first three that can hear each other announce, are found by whoever is alone, and go on
looking for each other, so that islands meet; what is found is a hint; hosts behind a cut are not heard of.
"""

import asyncio
import random
from collections.abc import Callable
from itertools import islice
from typing import Final

from bootstrap.discovery import ANNOUNCERS_PER_HOST, CANDIDATE_PAUSE_S, FoundCallback
from protocol.statements import Address

_HEARD_AFTER_S: Final = 0.05
_LOOK_EVERY_S: Final = 1.0


class Neighbourhood:
    """The local network segment: who would announce, in order."""

    def __init__(self) -> None:
        self.announced: dict[Address, None] = {}


class VirtualDiscovery:
    """Implements ``bootstrap.discovery.Discovery`` for one run of one peer."""

    def __init__(self, neighbourhood: Neighbourhood, own: Address, hears: Callable[[Address], bool]) -> None:
        """Announce ``own``; ``hears`` tells whether another runs and gets through to this host at the moment."""
        self._neighbourhood = neighbourhood
        self._own = own
        self._hears = hears
        self._task: asyncio.Task[None] | None = None
        self._is_alone = True
        self._announces = False
        """Whether this peer is one of those that announce; it stays one, and goes on looking, until it stops."""
        self._given: dict[Address, None] = {}

    @property
    def available(self) -> bool:
        """Always."""
        return True

    async def start(self, on_found: FoundCallback) -> None:
        """Announce, and look for others."""
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
            announcers = self._announcers()
            self._announces |= self._own in announcers
            for address in random.sample(announcers, len(announcers)):
                looks = self._is_alone or (self._announces and address not in self._given)
                if looks and address != self._own:
                    self._given[address] = None
                    on_found(address)
                    await asyncio.sleep(CANDIDATE_PAUSE_S)
            await asyncio.sleep(_LOOK_EVERY_S)

    def _announcers(self) -> list[Address]:
        """Return those that announce where this host listens, itself perhaps among them."""
        heard = (address for address in self._neighbourhood.announced if address == self._own or self._hears(address))
        return list(islice(heard, ANNOUNCERS_PER_HOST))
