"""Leases in *quorum* mode: at no moment of true time do two peers hold one (DESIGN section 6).

A lease is what a leader may act on by its own clock. A paused process holds its lease too: it ends on time, since the
peer looks at the clock before it acts again.
"""

from protocol.effects import RoleChanged
from protocol.election.quorum import CLOCK_RATE_MAX, CLOCK_RATE_MIN
from simulations.checkers.checker import Context, Watch
from simulations.faults import ClockRate
from simulations.witness import Observation


class LeasesNeverOverlap(Watch):
    """Whenever a role changes, and each second, at most one lease runs.

    A second lease can only begin with a change of role, or go on after its end, which is a change of role as well.
    """

    name = "leases never overlap"
    hears = (RoleChanged,)

    @staticmethod
    def is_promised(context: Context) -> bool:
        """Return whether the network has fixed voters, and no clock runs faster or slower than they bear."""
        rates = [fault.rate for fault in context.scenario.faults if isinstance(fault, ClockRate)]
        return context.scenario.voters > 0 and all(CLOCK_RATE_MIN <= rate <= CLOCK_RATE_MAX for rate in rates)

    def observed(self, observation: Observation) -> None:
        """Look at every lease when somebody's role changed."""
        self._look()

    def scanned(self, at_s: float) -> None:
        """Look at every lease."""
        self._look()

    def counts(self) -> str:
        """Return what is counted."""
        return "looks at a running lease"

    def _look(self) -> None:
        true_s = self.context.now()
        holders = [
            peer.name
            for peer in self.context.cluster.peers
            if peer.is_up and peer.peer is not None
            if peer.peer.core.election.lease_until > peer.host.clock.local(true_s)
        ]
        self.count(len(holders))
        if len(holders) > 1:
            self.violated(f"{' and '.join(holders)} hold leases at the same time")
