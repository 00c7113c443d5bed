"""Names of peers, for what checkers say."""

from collections.abc import Mapping
from typing import TypeVar

from simulations.outside import NetworkSeen, PeerSeen

_PeerT = TypeVar("_PeerT", bound=PeerSeen)


def peers_by_id(cluster: NetworkSeen[_PeerT]) -> dict[bytes, _PeerT]:
    """Return the peers of the cluster by their ids."""
    return {peer.peer_id: peer for peer in cluster.peers}


def name_of(peer_id: bytes, peers: Mapping[bytes, PeerSeen]) -> str:
    """Return a peer's name, or the start of the id of one that is not ours."""
    peer = peers.get(peer_id)
    return peer.name if peer is not None else f"stranger {peer_id.hex()[:8]}"
