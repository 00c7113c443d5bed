"""Holds back what the faults of the table hold back: timers for datagrams, waiting for everything on streams.

A cut behaves as a cut cable does: nothing arrives and nothing is refused. What waits on a stream goes on when the cut
ends, as retransmission would have it.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from typing import Final

from node.clock import steady_s
from node.errors import OperationError
from node.faults.table import Direction, FaultTable
from node.shapes import Fault, FaultOrder
from protocol.ids import PeerId, ShortId, short_id_of

UNDER_WAY_MAX: Final = 10_000
"""Datagrams held back at once; a further one is lost, as in a full queue."""

HELD_MAX: Final = 256
"""Requests of others, and ends of links, held back at once."""

_LOOK_AGAIN_MIN_S: Final = 0.001

_log = logging.getLogger("pair.faults")


class FaultPlane:
    """The faults of one running peer, and what they hold back just now.

    Owns one task for each end of a link that is held back.
    """

    def __init__(self, *, random: random.Random) -> None:
        """Begin with no fault; ``random`` decides what is hit."""
        self._table = FaultTable(random=random)
        self._changed = asyncio.Event()
        self._under_way = 0
        self._tellings: dict[asyncio.Task[None], None] = {}
        self._requests_held = 0
        self._closed = False
        self.counts: dict[str, int] = {"lost": 0, "delayed": 0, "duplicated": 0}
        """What became of datagrams."""

    # For the API

    def add(self, order: FaultOrder) -> Fault:
        """Begin a fault. Raises ``OperationError``: there are too many."""
        now = steady_s()
        fault = self._table.add(order, now=now)
        self._has_changed()
        _log.warning("fault %s begins: %s for %g s", fault.id, order.kind, order.seconds)
        return fault.document(now)

    def active(self) -> list[Fault]:
        """Return the active faults, oldest first."""
        now = steady_s()
        return [fault.document(now) for fault in self._table.active(now)]

    def clear(self, id: str | None) -> list[Fault]:
        """End the fault ``id``, or all, and return what was ended.

        Raises:
            OperationError: ``not-found``: there is no fault of that id, or it has ended.
        """
        now = steady_s()
        wanted = [fault.id for fault in self._table.active(now)] if id is None else [id]
        ended = [fault for name in wanted if (fault := self._table.remove(name, now=now)) is not None]
        if id is not None and not ended:
            raise OperationError(
                "not-found", f"no fault {id!r} is active here", next_step="pair fault list shows what is"
            )
        self._has_changed()
        for fault in ended:
            _log.warning("fault %s is cleared", fault.id)
        return [fault.document(now) for fault in ended]

    async def close(self) -> None:
        """Drop what is held back. Idempotent."""
        self._closed = True
        tasks = list(self._tellings)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # For what flows

    def datagram(self, peer: ShortId | None, direction: Direction, go_on: Callable[[], None]) -> None:
        """Let one datagram go on by ``go_on``: now, later, more than once or never."""
        delays_s = self._table.datagram(peer, direction, now=steady_s())
        self.counts["lost"] += not delays_s
        self.counts["duplicated"] += len(delays_s) > 1
        for delay_s in delays_s:
            if delay_s <= 0:
                go_on()
            elif self._under_way < UNDER_WAY_MAX:
                self.counts["delayed"] += 1
                self._under_way += 1
                asyncio.get_running_loop().call_later(delay_s, self._arrive, go_on)
            else:
                self.counts["lost"] += 1

    async def passage(self, peer_id: PeerId, direction: Direction) -> None:
        """Return when a message on a stream has got through; the caller sets the deadline."""
        peer = short_id_of(peer_id)
        delay_s = self._table.stream_delay_s(peer, direction, now=steady_s())
        if delay_s > 0:
            await asyncio.sleep(delay_s)
        while True:
            now = steady_s()
            if not self._table.is_cut(peer, direction, now=now):
                return
            changed = self._changed
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(_LOOK_AGAIN_MIN_S, self._table.next_end(now) - now)):
                    await changed.wait()

    async def admission(self, peer_id: PeerId, direction: Direction) -> None:
        """As ``passage``, for what another peer began: at most ``HELD_MAX`` at once.

        Raises:
            TimeoutError: So many are held back already.
        """
        if self._requests_held >= HELD_MAX:
            raise TimeoutError
        self._requests_held += 1
        try:
            await self.passage(peer_id, direction)
        finally:
            self._requests_held -= 1

    def tell(self, peer_id: PeerId, happened: Callable[[], None]) -> None:
        """Call ``happened`` when word of it gets here from a peer; at once while no fault is active."""
        if not self._table.active(steady_s()):
            happened()
        elif not self._closed and len(self._tellings) < HELD_MAX:
            task = asyncio.get_running_loop().create_task(self._tell(peer_id, happened))
            self._tellings[task] = None
            task.add_done_callback(self._tellings.pop)

    async def _tell(self, peer_id: PeerId, happened: Callable[[], None]) -> None:
        await self.passage(peer_id, "in")
        happened()

    def _arrive(self, go_on: Callable[[], None]) -> None:
        self._under_way -= 1
        if not self._closed:
            go_on()

    def _has_changed(self) -> None:
        """Let everything that waits look again."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
