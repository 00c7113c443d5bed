"""Members: the dead are found, nobody is invented, and no term rises beyond what elections explain."""

from typing import Final

from protocol.config import PROFILES
from protocol.limits import TERM_JUMP_MAX
from simulations.checkers.checker import OutsideContext, OutsideWatch
from simulations.checkers.names import name_of, peers_by_id
from simulations.outside import PeerSeen

_FOUND_AFTER_S: Final = 15.0
"""Time within which a silent peer is found by everybody, with the shortest suspicion of the local profile: several
times the longest suspicion, for observers whose own health is bad have more patience."""


class DeadAreFound(OutsideWatch):
    """Whoever has been dead for long is living in nobody's table (SWIM 2002: completeness)."""

    name = "the dead are found"

    def __init__(self, context: OutsideContext) -> None:
        super().__init__(context)
        config, local = PROFILES[context.scenario.profile], PROFILES["local"]
        self._patience_s = _FOUND_AFTER_S * config.suspicion_min_s / local.suspicion_min_s * context.patience
        self._dead_since: dict[str, float] = {}
        self._runs_since: dict[tuple[str, int], float] = {}

    def scanned(self, at_s: float) -> None:
        """Look for the dead in the tables of those that ran all the while."""
        cluster = self.context.cluster
        running, are_all_good = cluster.running(), cluster.are_links_good
        self._runs_since = {
            boot: self._runs_since.get(boot, at_s)
            for peer in running
            if (boot := _boot_of(peer)) is not None
            and (are_all_good or all(cluster.link_is_good(peer.name, other.name) for other in cluster.peers))
        }
        self._dead_since = {
            peer.name: self._dead_since.get(peer.name, at_s) for peer in cluster.peers if not peer.is_up
        }
        for dead in cluster.peers:
            since_s = self._dead_since.get(dead.name, at_s)
            if at_s - since_s <= self._patience_s:
                continue
            for peer in running:
                if self._runs_since.get(_boot_of(peer), at_s) > since_s:
                    continue
                self.count()
                member = peer.table.find(dead.peer_id)
                if member is not None and member.is_living:
                    self.violated(f"{peer.name} thinks {dead.name} {member.state}, dead since {since_s:.0f} s")

    def counts(self) -> str:
        """Return what is counted."""
        return "looks for a dead peer in a table"


class TablesAreBounded(OutsideWatch):
    """Member tables name only peers that exist: nobody can be invented, not by a member either."""

    name = "member tables name only who exists"

    def __init__(self, context: OutsideContext) -> None:
        super().__init__(context)
        self._peers = peers_by_id(context.cluster)

    def scanned(self, at_s: float) -> None:
        """Look at all tables."""
        known: set[bytes] = {*self._peers, *self.context.cluster.guests}
        for peer in self.context.cluster.running():
            self.count()
            for invented in sorted(set(peer.table.ids) - known):
                self.violated(f"{peer.name} has {name_of(invented, self._peers)} in its table")

    def counts(self) -> str:
        """Return what is counted."""
        return "looks at a table"


class TermsAreBounded(OutsideWatch):
    """No peer gets near a term that elections alone do not reach, whatever members say."""

    name = "terms stay near each other"

    def scanned(self, at_s: float) -> None:
        """Look at all terms."""
        for peer in self.context.cluster.running():
            self.count()
            if peer.election.term > TERM_JUMP_MAX:
                self.violated(f"{peer.name} is in term {peer.election.term}")

    def counts(self) -> str:
        """Return what is counted."""
        return "looks at a term"


def _boot_of(peer: PeerSeen) -> tuple[str, int]:
    return (peer.name, peer.boot)
