"""Runs the core: feeds it inputs, carries out its effects in order, wakes it when it asked for it.

After aioquic's asyncio protocol: every entry feeds the core, drains what it decided and re-arms one timer.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from node.adapters import VoteKeeper
from node.clock import steady_s, wall_ms
from node.datagrams import DatagramPort
from node.links import Links
from protocol.core import Core
from protocol.effects import (
    Effect,
    Event,
    Input,
    KeepBans,
    KeepLinks,
    KeepVoters,
    Persist,
    Report,
    Send,
    TryConnection,
    WallClockRead,
    Woken,
)
from protocol.statements import Ban, VoterList

_WALL_CLOCK_PERIOD_S: Final = 10.0
_SLEEP_MIN_S: Final = 0.0005
"""Timers are not armed closer than this, so that a deadline in the past cannot spin the loop."""

_log = logging.getLogger("pair.driver")


class Driver:
    """Owns the core's timer and the order of its effects."""

    def __init__(
        self,
        *,
        core: Core,
        datagrams: DatagramPort,
        links: Links,
        votes: VoteKeeper,
        keep_voters: Callable[[VoterList], None],
        keep_bans: Callable[[Sequence[Ban]], None],
        on_event: Callable[[Event], None],
        on_broken: Callable[[BaseException], None],
    ) -> None:
        """Connect the core to the world.

        Args:
            on_event: Told of every change, after the effects before it were carried out.
            on_broken: Told of a failure after which this peer must not go on: a vote that cannot be kept, a
                broken invariant.
        """
        self._core = core
        self._datagrams = datagrams
        self._links = links
        self._votes = votes
        self._keep_voters = keep_voters
        self._keep_bans = keep_bans
        self._on_event = on_event
        self._on_broken = on_broken
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        """For when the timer was set."""

        self._wall_read_at = steady_s()
        self._closed = False

    def handle(self, event: Input) -> None:
        """Give the core one input and carry out what it decides."""
        if self._closed:
            return
        now = steady_s()
        try:
            for effect in self._core.handle(event, now):
                self._carry_out(effect)
            if now - self._wall_read_at >= _WALL_CLOCK_PERIOD_S:
                self._wall_read_at = now
                self._core.check_invariants()
                for effect in self._core.handle(WallClockRead(wall_ms()), now):
                    self._carry_out(effect)
        except Exception as error:  # the top of everything that the core does: it must not go on after this
            _log.critical("the peer stops: %r", error, exc_info=error)
            self.close()
            self._on_broken(error)
            return
        self._arm()

    def close(self) -> None:
        """Stop waking the core. Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        self._timer = None
        self.handle(Woken())

    def _arm(self) -> None:
        deadline = self._core.next_deadline()
        if self._timer is not None:
            if abs(deadline - self._deadline) < _SLEEP_MIN_S:
                return
            self._timer.cancel()
        self._deadline = deadline
        pause_s = max(_SLEEP_MIN_S, deadline - steady_s())
        self._timer = asyncio.get_running_loop().call_later(pause_s, self._wake)

    def _carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(message, address, receiver):
                self._datagrams.send(message, address, receiver)
            case Report(event):
                self._on_event(event)
            case Persist(promise):
                self._votes.save(promise)
            case KeepVoters(voters):
                self._keep_voters(voters)
            case KeepBans(bans):
                self._keep_bans(bans)
            case KeepLinks(peers):
                self._links.keep(peers)
            case TryConnection(peer):
                self._links.try_connection(peer)
