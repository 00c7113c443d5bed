"""Names of peers, for what checkers say."""

from simulations.cluster import Cluster, SimPeer


def peers_by_id(cluster: Cluster) -> dict[bytes, SimPeer]:
    """Return the peers of the cluster by their ids."""
    return {peer.disk.identity.peer_id: peer for peer in cluster.peers}


def name_of(peer_id: bytes, peers: dict[bytes, SimPeer]) -> str:
    """Return a peer's name, or the start of the id of one that is not ours."""
    peer = peers.get(peer_id)
    return peer.name if peer is not None else f"stranger {peer_id.hex()[:8]}"
