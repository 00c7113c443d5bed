"""Copies right after deaths: the records with the fewest copies first, one at a time.

Deaths come in groups, and in their first second users read from whoever is left. So what is done at once is little:
each peer gives one new holder one copy in each step, and pauses; for longer when more have died, and where its loop,
or the machine under all peers, has too much to do. What one death takes from a network of few records is healed so
within the second; after many deaths each peer makes the one or two copies that are most urgent.
"""

import asyncio
from contextlib import aclosing
from typing import Final, NamedTuple

from node.dht.outbox import Outbox
from node.dht.shelf import Shelf
from node.dht.surroundings import Surroundings
from node.dht.tasks import give_way
from protocol.ids import Digest, PeerId
from protocol.placement import Placement

_STEP_S: Final = 0.2
"""Pause between two copies, for each death: many deaths leave work for all peers, and more of it than one."""

_CASES_MAX: Final = 1024
"""Copies looked for at a time: many more than there are steps before the whole repair begins."""


class _Case(NamedTuple):
    """A copy that is missing."""

    survivors: int
    place: Digest
    receiver: PeerId


class FirstAid:
    """Makes the most urgent copies between a death and the whole repair that follows it."""

    def __init__(self, surroundings: Surroundings, shelf: Shelf, outbox: Outbox) -> None:
        self._around = surroundings
        self._shelf = shelf
        self._outbox = outbox
        self._given: dict[tuple[PeerId, Digest], None] = {}

    def end(self) -> None:
        """Forget what was given: the whole repair has begun."""
        self._given.clear()

    async def give(self, before: Placement, *, until: float, interrupt: asyncio.Event) -> None:
        """Push copies that deaths since ``before`` made necessary, until there are none or it is to end.

        Args:
            before: The members when all copies were where they belonged.
            until: When to end, in the loop's time.
            interrupt: Ends it too; set when the members have changed again.
        """
        loop = asyncio.get_running_loop()
        deaths = sum(not self._around.holders.is_living(peer_id) for peer_id in before.peer_ids)
        cases = await self._cases(before, until=until)
        for case in sorted(cases, key=lambda case: case.survivors):
            await give_way()
            if interrupt.is_set() or loop.time() >= until:
                return
            self._given[case.receiver, case.place] = None
            self._outbox.push(case.receiver, [case.place])
            await asyncio.sleep(min(deaths * _STEP_S, until - loop.time()))

    async def _cases(self, before: Placement, *, until: float) -> list[_Case]:
        """Return the copies that this peer, as the first of the holders that are left, has to make."""
        holders, local = self._around.holders, self._around.local
        loop = asyncio.get_running_loop()
        cases: list[_Case] = []
        async with aclosing(self._shelf.walk()) as walk:
            async for place, _ in walk:
                if len(cases) >= _CASES_MAX or loop.time() >= until:
                    break
                earlier = before.closest(place, holders.k)
                left = [peer_id for peer_id in earlier if holders.is_living(peer_id)]
                if len(left) < len(earlier) and left[:1] == [local]:
                    cases += [
                        _Case(len(left), place, receiver)
                        for receiver in holders.of(place).peer_ids
                        if receiver not in earlier and (receiver, place) not in self._given
                    ]
        return cases
