"""How the whole network stands, seen from outside: leaders, tables, copies."""

from collections import Counter

from protocol.ids import Digest, PeerId
from protocol.placement import Placement
from simulations.cluster import Cluster, SimPeer


def leaders_of(cluster: Cluster) -> dict[PeerId, int]:
    """Return whom the running peers follow, and how many follow each; those without a leader count nowhere."""
    followed: Counter[PeerId] = Counter()
    for peer in cluster.running():
        assert peer.peer is not None, "it runs"
        leader = peer.peer.core.election.leader
        if leader is not None:
            followed[leader] += 1
    return dict(followed)


def terms_of(cluster: Cluster) -> tuple[int, ...]:
    """Return the terms that running peers are in, ascending."""
    return tuple(sorted({peer.peer.core.election.term for peer in cluster.running() if peer.peer is not None}))


def living_tables(cluster: Cluster) -> dict[tuple[PeerId, ...], int]:
    """Return the sets of living members that running peers see, and how many see each."""
    tables: Counter[tuple[PeerId, ...]] = Counter()
    for peer in cluster.running():
        assert peer.peer is not None, "it runs"
        tables[tuple(member.peer_id for member in peer.peer.core.membership.table if member.is_living)] += 1
    return dict(tables)


def is_united(cluster: Cluster) -> bool:
    """Return whether all peers run, follow one leader and see exactly each other, alive and described alike."""
    running = cluster.running()
    leaders = leaders_of(cluster)
    if len(running) < len(cluster.peers) or len(leaders) != 1 or sum(leaders.values()) < len(running):
        return False
    everybody = tuple(sorted(peer.disk.identity.peer_id for peer in running))
    return list(living_tables(cluster)) == [everybody] and len(_descriptions(cluster)) == 1


def _descriptions(cluster: Cluster) -> set[tuple[tuple[int, int, str], ...]]:
    """Return how the running peers describe the living: boots, incarnations and states, each view once."""
    tables = [peer.peer.core.membership.table for peer in cluster.running() if peer.peer is not None]
    return {
        tuple((m.descriptor.boot, m.descriptor.incarnation, m.state) for m in table if m.is_living) for table in tables
    }


def missing_copies(cluster: Cluster) -> int:
    """Return how many copies of newest versions are not with the holders that they belong to."""
    peers = {peer.disk.identity.peer_id: peer for peer in cluster.peers}
    placement = Placement(sorted(peers))
    newest: dict[Digest, int] = {}
    for peer in cluster.peers:
        for digest, stamp in peer.disk.records.digests():
            newest[digest] = max(stamp, newest.get(digest, 0))
    missing = 0
    for digest, stamp in newest.items():
        for holder in placement.closest(digest, cluster.peers[0].config.k):
            kept = peers[holder].disk.records.read(digest)
            missing += kept is None or kept.stamp < stamp
    return missing


def most_followed(cluster: Cluster) -> SimPeer | None:
    """Return the running peer whom most follow; the lower id when as many follow two."""
    leaders = leaders_of(cluster)
    by_id = {peer.disk.identity.peer_id: peer for peer in cluster.running()}
    candidates = sorted((-count, peer_id) for peer_id, count in leaders.items() if peer_id in by_id)
    return by_id[candidates[0][1]] if candidates else None
