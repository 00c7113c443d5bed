"""What every part of the DHT works with: who I am, whom I can ask, what time it is."""

import random
from dataclasses import dataclass

from node.dht.holders import Holders
from node.ports import Members, NetworkTime, Requester
from node.shapes import Asked
from protocol.identity import Identity, Verifier
from protocol.ids import Digest, PeerId, key_digest
from protocol.network import NetworkIdentity
from protocol.records import UNSIGNED_WRITER, Head, Record, owner_of


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The ports of the DHT and its view of the holders, shared by its parts."""

    identity: Identity
    network: NetworkIdentity
    members: Members
    holders: Holders
    requester: Requester
    time: NetworkTime
    verifier: Verifier
    random: random.Random

    @property
    def local(self) -> PeerId:
        """Id of this peer."""
        return self.identity.peer_id

    def place_of(self, key: str) -> Digest:
        """Return where a key belongs in the Kademlia space."""
        return key_digest(key, open_network=self.network.open)

    def is_genuine(self, version: Record | Head, place: Digest) -> bool:
        """Return whether signature, key and place agree and the writer may write this key."""
        is_unsigned = version.author_key == UNSIGNED_WRITER
        if is_unsigned and (not self.network.open or version.is_tombstone):
            return False
        if version.is_tombstone and isinstance(version, Record) and version.value:
            return False
        if version.key and self.place_of(version.key) != place:
            return False
        if not is_unsigned and not may_write(version.key, version.author):
            return False
        return version.is_acceptable(self.verifier, self.network.network_id, open_network=self.network.open)

    def asked(self, peer_id: PeerId, answer: str, version: str | None, seconds: float) -> Asked:
        """Return one line of an explanation."""
        peer = self.members.find(peer_id)
        name = peer.name if peer is not None else ""
        return Asked(id=peer_id.hex(), name=name, answer=answer, version=version, ms=round(seconds * 1000, 3))


def may_write(key: str, writer: PeerId) -> bool:
    """Return whether ``writer`` may write ``key`` (DESIGN section 7)."""
    return owner_of(key) in (None, writer)
