"""How the whole network stands, seen from outside: leaders, tables, copies."""

from collections import Counter
from typing import TypeAlias, TypeVar

from protocol.ids import Digest, PeerId
from protocol.placement import Placement
from simulations.outside import NetworkSeen, PeerSeen

_Network: TypeAlias = NetworkSeen[PeerSeen]
_PeerT = TypeVar("_PeerT", bound=PeerSeen)


def leaders_of(cluster: _Network) -> dict[PeerId, int]:
    """Return whom the running peers follow, and how many follow each; those without a leader count nowhere."""
    followed: Counter[PeerId] = Counter()
    for peer in cluster.running():
        leader = peer.election.leader
        if leader is not None:
            followed[leader] += 1
    return dict(followed)


def terms_of(cluster: _Network) -> tuple[int, ...]:
    """Return the terms that running peers are in, ascending."""
    return tuple(sorted({peer.election.term for peer in cluster.running()}))


def living_tables(cluster: _Network) -> dict[tuple[PeerId, ...], int]:
    """Return the sets of living members that running peers see, and how many see each."""
    tables: Counter[tuple[PeerId, ...]] = Counter()
    for peer in cluster.running():
        tables[peer.table.living] += 1
    return dict(tables)


def is_united(cluster: _Network) -> bool:
    """Return whether all peers run, follow one leader and see exactly each other, alive and described alike."""
    running = cluster.running()
    leaders = leaders_of(cluster)
    if len(running) < len(cluster.peers) or len(leaders) != 1 or sum(leaders.values()) < len(running):
        return False
    everybody = tuple(sorted(peer.peer_id for peer in running))
    return list(living_tables(cluster)) == [everybody] and all(peer.view == running[0].view for peer in running)


def missing_copies(cluster: _Network, *, k: int) -> int:
    """Return how many copies of newest versions are not with the holders that they belong to."""
    peers = {peer.peer_id: peer for peer in cluster.peers}
    placement = Placement(sorted(peers))
    newest: dict[Digest, int] = {}
    for peer in cluster.peers:
        for digest, stamp in peer.records.digests():
            newest[digest] = max(stamp, newest.get(digest, 0))
    missing = 0
    for digest, stamp in newest.items():
        for holder in placement.closest(digest, k):
            kept = peers[holder].records.read(digest)
            missing += kept is None or kept.stamp < stamp
    return missing


def most_followed(cluster: NetworkSeen[_PeerT]) -> _PeerT | None:
    """Return the running peer whom most follow; the lower id when as many follow two."""
    leaders = leaders_of(cluster)
    by_id = {peer.peer_id: peer for peer in cluster.running()}
    candidates = sorted((-count, peer_id) for peer_id, count in leaders.items() if peer_id in by_id)
    return by_id[candidates[0][1]] if candidates else None
