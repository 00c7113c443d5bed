"""When a peer that just started is ready, and when it may take part in elections (DESIGN section 6, "Joining").

Ready means that another peer was met, or that the time to wait for one passed. Until that time ends, members that are
only remembered count as suspects: the first peer back is not the whole network. A newcomer stands or votes once its
table was quiet for a moment, so that peers that start together elect once, not once for each that arrives.
"""

import math
from typing import Final

FIRST_ELECTION_QUIET_S: Final = 0.15
FIRST_ELECTION_PATIENCE_S: Final = 1.0
"""A table that never gets quiet keeps a newcomer from elections no longer than this, counted from its first meeting."""


class Readiness:
    """The way of a newcomer: alone, met, ready, an elector.

    Invariant: nothing of it is ever taken back.
    """

    def __init__(self, *, now: float, ready_timeout_s: float) -> None:
        self._grace_ends: Final = now + ready_timeout_s
        self._in_grace = True
        self._met_at: float | None = None
        self._table_changed_at = now
        self._is_elector = False
        self.is_ready = False
        """Whether another peer was met, or the time to wait for one passed."""

    @property
    def has_met(self) -> bool:
        """Whether any other peer was met."""
        return self._met_at is not None

    def met(self, now: float) -> bool:
        """Note that another peer was met; return whether this made the peer ready."""
        if self._met_at is not None:
            return False
        self._met_at = now
        self._table_changed_at = now
        return self._become_ready()

    def table_changed(self, now: float) -> None:
        """Note that the member table changed."""
        self._table_changed_at = now

    def grace_over(self, now: float) -> bool:
        """Return, once, that the time to wait for others is over."""
        if not self._in_grace or now < self._grace_ends:
            return False
        self._in_grace = False
        return True

    def wait_no_longer(self) -> bool:
        """Be ready alone; return whether the peer was not ready before."""
        return self._become_ready()

    def may_elect(self, now: float) -> bool:
        """Return whether this peer takes part in elections."""
        if not self._is_elector:
            self._is_elector = self.is_ready and now >= self._opens_at()
        return self._is_elector

    def next_deadline(self) -> float:
        """Return when something of this changes by itself; infinity when nothing will."""
        opens = math.inf if self._is_elector else self._opens_at()
        return min(opens, self._grace_ends) if self._in_grace else opens

    def _opens_at(self) -> float:
        """When a newcomer may take part: once its table has been quiet, or at the end of its grace."""
        if not self._in_grace or self._met_at is None:
            return self._grace_ends
        quiet = self._table_changed_at + FIRST_ELECTION_QUIET_S
        return min(quiet, self._met_at + FIRST_ELECTION_PATIENCE_S, self._grace_ends)

    def _become_ready(self) -> bool:
        was_ready, self.is_ready = self.is_ready, True
        return not was_ready
