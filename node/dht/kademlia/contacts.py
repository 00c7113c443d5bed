"""Contacts: places in the Kademlia space with an address, as the library's ``Node``, but typed."""

from kademlia.node import Node

from protocol.ids import Digest, PeerId, kademlia_id_of
from protocol.statements import Descriptor


class Contact(Node):
    """Somebody with a place and an address; of a stock node, that is all there is to know."""

    id: Digest
    ip: str
    port: int
    long_id: int
    """``id`` as a big-endian number, for distances."""

    def __init__(self, node_id: Digest, ip: str, port: int) -> None:
        super().__init__(node_id, ip, port)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, as sockets name them."""
        return (self.ip, self.port)


class MemberContact(Contact):
    """A member, as its signed descriptor says."""

    def __init__(self, descriptor: Descriptor) -> None:
        self.descriptor = descriptor
        self.peer_id: PeerId = descriptor.peer_id
        super().__init__(kademlia_id_of(self.peer_id), descriptor.address.host, descriptor.address.port)


def place(digest: Digest) -> Contact:
    """Return a contact that is only a place: the target of a search."""
    return Contact(digest, "", 0)
