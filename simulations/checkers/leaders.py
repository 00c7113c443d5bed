"""Leaders: each group of peers that all reach one another has one, soon (DESIGN section 6, available mode)."""

from collections.abc import Sequence
from typing import Final

from protocol.config import PROFILES
from protocol.ids import PeerId
from simulations.checkers.checker import Context, OutsideContext, OutsideWatch, Watch
from simulations.checkers.names import peers_by_id
from simulations.cluster import SimPeer
from simulations.faults import Links
from simulations.outside import PeerSeen

UNITED_AFTER_S: Final = 2.0
"""A group that stayed the same for longer has at most one leader."""

_Group = tuple[tuple[str, int], ...]
"""Names and boots of its peers, in the cluster's order."""


class OneLeaderPerGroup(OutsideWatch):
    """Of peers that have reached one another for more than two seconds, at most one leads.

    Slow and lossy links, bridges and one-way cuts make no groups: there only safety holds.
    """

    name = "one leader per group"

    def __init__(self, context: OutsideContext) -> None:
        super().__init__(context)
        self._since: dict[_Group, float] = {}

    def scanned(self, at_s: float) -> None:
        """Find the groups, and count the leaders of those that are old enough."""
        groups = {_signature(group): group for group in self._groups()}
        self._since = {signature: self._since.get(signature, at_s) for signature in groups}
        for signature, group in groups.items():
            if at_s - self._since[signature] <= UNITED_AFTER_S * self.context.patience:
                continue
            self.count()
            leaders = [
                peer.name for peer in group if peer.election.role == "leader"
            ]
            if len(leaders) > 1:
                self.violated(
                    f"{' and '.join(leaders)} lead a group of {len(group)}"
                    f" that has been whole since {self._since[signature]:.0f} s"
                )

    def counts(self) -> str:
        """Return what is counted."""
        return f"looks at groups that had been whole for {UNITED_AFTER_S * self.context.patience:g} s"

    def _groups(self) -> list[list[PeerSeen]]:
        """Return the sets of running peers in which everybody reaches everybody, and nobody else."""
        network, running = self.context.cluster, self.context.cluster.running()
        may_be_slow = any(isinstance(fault, Links) for fault in self.context.scenario.faults)
        if may_be_slow and not self._links_are_good(running):
            return []
        if network.is_whole:
            return [list(running)] if running else []
        everybody = frozenset(peer.name for peer in running)
        deaf = {a.name: frozenset(b.name for b in running if network.is_cut(b.name, a.name)) for a in running}
        groups: dict[frozenset[str], list[PeerSeen]] = {}
        for a in running:
            mute = frozenset(b.name for b in running if network.is_cut(a.name, b.name))
            groups.setdefault(mute, []).append(a)
        return [
            group
            for others, group in groups.items()
            if others == everybody - {peer.name for peer in group} and all(deaf[peer.name] == others for peer in group)
        ]

    def _links_are_good(self, running: Sequence[PeerSeen]) -> bool:
        network = self.context.cluster
        return network.are_links_good or all(
            network.link_is_good(a.name, b.name) for a in running for b in running if a is not b
        )


class LeadersHaveAMajority(Watch):
    """Who reaches no majority of its council for longer than a lease does not lead.

    The council is the one of the leader's own member table; while that stays the same, so does what a majority is.
    """

    name = "leaders reach a majority"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._cut_off: dict[tuple[str, int], tuple[tuple[PeerId, ...], float]] = {}
        self._peers = peers_by_id(context.cluster)
        self._patience_s = 2 * PROFILES[context.scenario.profile].lease_s

    def scanned(self, at_s: float) -> None:
        """Find the leaders that reach too few, and since when."""
        cut_off: dict[tuple[str, int], tuple[tuple[PeerId, ...], float]] = {}
        for peer in self.context.cluster.running():
            assert peer.peer is not None, "it runs"
            if peer.peer.core.election.role != "leader":
                continue
            self.count()
            council = peer.peer.core.election.council
            reached = sum(self._is_reached(peer, member) for member in council)
            if 2 * reached > len(council):
                continue
            boot = (peer.name, peer.disk.last_boot or 0)
            before, since_s = self._cut_off.get(boot, (council, at_s))
            cut_off[boot] = (council, since_s if before == council else at_s)
            if before == council and at_s - since_s > self._patience_s:
                self.violated(f"{peer.name} leads and reaches {reached} of {len(council)} in its council")
        self._cut_off = cut_off

    def counts(self) -> str:
        """Return what is counted."""
        return "looks at a leader"

    def _is_reached(self, leader: SimPeer, member: PeerId) -> bool:
        peer = self._peers.get(member)
        if peer is None or not peer.host.is_running:
            return False
        network = self.context.cluster.network
        is_cut = network.is_cut(leader.host, peer.host) or network.is_cut(peer.host, leader.host)
        return peer is leader or not is_cut


def _signature(group: Sequence[PeerSeen]) -> _Group:
    return tuple((peer.name, peer.boot) for peer in group)
