"""Health: every machine keeps its own promises, nothing grows without bound, and nobody talks without end."""

from collections.abc import Iterable
from typing import Final

from simulations.checkers.checker import Context, Watch
from simulations.cluster import SimPeer

_DATAGRAMS_PER_PEER_S: Final = 150.0
"""Membership, heartbeats and their answers, also while everything changes."""

_DATAGRAMS_PER_COPY: Final = 12.0
"""An operation costs each of k holders a request and a reply, hedged, sent again and repaired now and then."""

_DATAGRAMS_PER_PEER_AND_CHANGE: Final = 4.0
"""Each peer tells of each member that comes or goes."""

_ROWS_AT_ONCE: Final = 2500
"""Rows of member tables that one look goes through: with 50 peers those of all, with 300 those of 8."""

_ASKED_MAX: Final = 1000
"""How far back an operation is looked for that is still under way: no scenario has more clients."""


class MachinesKeepTheirInvariants(Watch):
    """The core of every running peer is as its own invariants say."""

    name = "machines keep their invariants"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._turn = 0
        """Where among the running peers the next look begins."""

    def scanned(self, at_s: float) -> None:
        """Let the cores check themselves, in a large network some at each look."""
        running = self.context.cluster.running()
        at_once = min(len(running), max(1, _ROWS_AT_ONCE // len(self.context.cluster.peers)))
        begin, self._turn = self._turn, self._turn + at_once
        self._look([running[number % len(running)] for number in range(begin, begin + at_once)])

    def conclude(self) -> None:
        """Look at every core once more."""
        self._look(self.context.cluster.running())

    def counts(self) -> str:
        """Return what is counted."""
        return "looks at a core"

    def _look(self, peers: Iterable[SimPeer]) -> None:
        for peer in peers:
            assert peer.peer is not None, "it runs"
            self.count()
            try:
                peer.peer.core.check_invariants()
            except AssertionError as error:
                self.violated(f"{peer.name} breaks an invariant: {error}")


class NoStorm(Watch):
    """The datagrams of each second are bounded by peers, operations and changes."""

    name = "no storm of datagrams"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._sent = 0
        self._begun = 0
        self._asked = 0
        """Operations that were under way at the last look."""
        self._highest = 0

    def scanned(self, at_s: float) -> None:
        """Count what was sent since the last look."""
        cluster, history = self.context.cluster, self.context.history
        sent, self._sent = cluster.network.counts["sent"] - self._sent, cluster.network.counts["sent"]
        begun = len(history.operations) + len(history.final_reads)
        operations, self._begun = begun - self._begun + self._asked, begun
        self._asked = sum(operation.outcome == "pending" for operation in history.operations[-_ASKED_MAX:])
        self.count()
        self._highest = max(self._highest, sent)
        peers = len(cluster.peers)
        for_members = peers * (_DATAGRAMS_PER_PEER_S + peers * _DATAGRAMS_PER_PEER_AND_CHANGE)
        allowed = for_members + operations * min(self.context.scenario.k, peers) * _DATAGRAMS_PER_COPY
        if sent > allowed:
            self.violated(f"{sent} datagrams within a second, over {allowed:.0f} for {operations} operations")

    def counts(self) -> str:
        """Return what is counted."""
        return f"seconds, with {self._highest} datagrams at most"
