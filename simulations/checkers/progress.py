"""Progress: when everything has healed, all becomes well within the time that the scenario allows."""

from protocol.effects import MemberState
from protocol.ids import Digest, PeerId
from protocol.placement import Placement
from protocol.records import Record
from simulations.checkers.checker import OutsideWatch
from simulations.checkers.names import name_of, peers_by_id

_Row = tuple[PeerId, str, int, int, MemberState]
"""Id, name, boot, incarnation and state of a member."""


class OneLeaderInTheEnd(OutsideWatch):
    """All peers run and follow one of them."""

    name = "one leader in the end"
    is_of_the_end = True

    def conclude(self) -> None:
        """Ask every peer whom it follows."""
        cluster = self.context.cluster
        peers, running = peers_by_id(cluster), cluster.running()
        missing = [peer.name for peer in cluster.peers if peer not in running]
        if missing:
            self.violated(f"{', '.join(missing)} did not start again")
        followed: dict[PeerId | None, list[str]] = {}
        for peer in running:
            followed.setdefault(peer.election.leader, []).append(peer.name)
        if len(followed) > 1 or None in followed:
            sides = (
                f"{len(names)} ({names[0]}, …) follow {name_of(leader, peers) if leader else 'nobody'}"
                for leader, names in followed.items()
            )
            self.violated("; ".join(sides))
        for leader in followed:
            chosen = peers.get(leader or b"")
            if chosen is not None and (chosen not in running or chosen.election.role != "leader"):
                self.violated(f"{chosen.name} is followed and does not lead")
        self.count(len(running))

    def counts(self) -> str:
        """Return what is counted."""
        return "peers follow one of them"


class EqualTables(OutsideWatch):
    """All peers have the same member table: the same members, states and descriptors."""

    name = "equal member tables in the end"
    is_of_the_end = True

    def conclude(self) -> None:
        """Compare every table with that of the first peer, and all of them with who is there."""
        cluster = self.context.cluster
        living = {peer.peer_id for peer in cluster.running()}
        first: tuple[str, list[_Row]] | None = None
        for peer in cluster.running():
            self.count()
            table = [
                (m.peer_id, m.descriptor.name, m.descriptor.boot, m.descriptor.incarnation, m.state)
                for m in peer.table
                if m.peer_id in living or m.is_living
            ]
            wrong = [row for row in table if row[4] != "alive" or row[0] not in living]
            absent = living - {row[0] for row in table}
            if wrong:
                self.violated(f"{peer.name} thinks that {wrong[0][1]} is {wrong[0][4]}")
            elif absent:
                names = peers_by_id(cluster)
                self.violated(f"{peer.name} does not know {name_of(min(absent), names)}")
            elif first is None:
                first = (peer.name, table)
            elif table != first[1]:
                mine, theirs = next((a, b) for a, b in zip(table, first[1], strict=True) if a != b)
                self.violated(f"{peer.name} has {mine[1:]} where {first[0]} has {theirs[1:]}")

    def counts(self) -> str:
        """Return what is counted."""
        return "tables are equal"


class EnoughCopies(OutsideWatch):
    """The k peers closest to each key hold its newest version, and so its tombstone."""

    name = "k copies of everything in the end"
    is_of_the_end = True

    def conclude(self) -> None:
        """Look at every disk."""
        cluster = self.context.cluster
        peers = peers_by_id(cluster)
        placement = Placement(sorted(peer.peer_id for peer in cluster.running()))
        newest: dict[Digest, Record] = {}
        for peer in cluster.peers:
            for place, _ in peer.records.digests():
                record = peer.records.read(place)
                known = newest.get(place)
                if record is not None and (known is None or record.order > known.order):
                    newest[place] = record
        for place, record in newest.items():
            self.count()
            for holder in placement.closest(place, self.context.scenario.k):
                kept = peers[holder].records.read(place)
                if kept is None or kept.order != record.order:
                    found = kept.version if kept is not None else "nothing"
                    self.violated(f"{peers[holder].name} holds {found} of {record.key} instead of {record.version}")

    def counts(self) -> str:
        """Return what is counted."""
        return "records are where they belong"
