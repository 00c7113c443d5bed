"""The members by distance, and the lookup that finds members which this peer does not know.

With a full member table the nearest are known at once. The lookup is for networks larger than the table, and for
a peer whose table lags behind: it asks members by ``FindNode``, a message of the sealed wire.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from node.dht.kademlia.contacts import Contact, MemberContact, place
from node.dht.kademlia.crawl import Answer, crawl
from node.dht.kademlia.lookup import Lookup
from node.dht.kademlia.protocol import CallResult, PairProtocol
from node.dht.kademlia.routing import PairRoutingTable
from node.ports import Members, PeerUnreachable, Requester
from protocol import codec, limits
from protocol.dht_messages import FindNode, FoundNodes
from protocol.identity import Verifier
from protocol.ids import Digest, NetworkId, PeerId, kademlia_id_of
from protocol.statements import Descriptor

_CALL_TIMEOUT_S: Final = 1.0
"""Longest wait for one contact; the next is asked long before (see ``_patience_s``)."""

_PATIENCE_MIN_S: Final = 0.05
_PATIENCE_MAX_S: Final = 0.5

_HEADER_MAX: Final = 2**63 - 1
"""The largest number and boot, which the exchange fills in after the answer was cut to one datagram."""


class MemberProtocol(PairProtocol):
    """The RPC vocabulary on the sealed wire: ``find_node``. SWIM pings, and the DHT's own requests read and store."""

    def __init__(
        self,
        local: Contact,
        *,
        members: Members,
        requester: Requester,
        verifier: Verifier,
        network_id: NetworkId,
        introduce: Callable[[Descriptor], None],
    ) -> None:
        super().__init__(local, capacity=limits.MEMBERS_MAX)
        self._members = members
        self._requester = requester
        self._verifier = verifier
        self._network_id = network_id
        self._introduce = introduce

    def welcome_if_new(self, node: Contact) -> None:
        """Do nothing: membership alone decides who is in the table."""

    async def call_find_node(self, node_to_ask: MemberContact, node_to_find: Contact) -> CallResult:
        """Ask a member; see ``find_node``. A member that is unknown here is introduced to the membership first."""
        if self._members.find(node_to_ask.peer_id) is None:
            self._introduce(node_to_ask.descriptor)
        result = await self.find_node(node_to_ask.peer_id, node_to_find.id)
        return self.handle_call_response(result, node_to_ask)

    async def find_node(self, peer_id: PeerId, target: Digest) -> CallResult:
        """Ask one member for the nearest to ``target`` that it knows; return authentic contacts."""
        request = FindNode(target=target, count=limits.HOLDERS_MAX)
        try:
            reply = await self._requester.request(peer_id, request, timeout_s=_CALL_TIMEOUT_S)
        except PeerUnreachable:
            return (False, None)
        if not isinstance(reply, FoundNodes):
            return (False, None)
        return (True, self._contacts(reply.contacts))

    def rpc_find_node(self, sender: PeerId, nodeid: Digest, key: Digest) -> list[MemberContact]:
        """Return the nearest members to ``key`` but for the one that asks, nearest first."""
        nearest = self.router.find_neighbors(place(key), limits.HOLDERS_MAX + 1)
        return [contact for contact in nearest if contact.id != nodeid and not self.is_avoided(contact)]

    def _contacts(self, descriptors: Sequence[Descriptor]) -> list[MemberContact]:
        """Return whom an answer names: the table's own contact where there is one, else what is signed."""
        contacts: list[MemberContact] = []
        for descriptor in descriptors:
            known = self.router.find(kademlia_id_of(descriptor.peer_id))
            if isinstance(known, MemberContact):
                contacts.append(known)
            elif descriptor.is_authentic(self._verifier, self._network_id):
                contacts.append(MemberContact(descriptor))
        local = self._members.local
        return [each for each in contacts if each.peer_id != local and not self.is_avoided(each)]


class KademliaNode:
    """The members by their place in the Kademlia space.

    The routing table takes those that came and went when it is next asked: they come and go by the hundred, and it is
    asked only for what the full member table does not know.
    """

    def __init__(
        self,
        *,
        members: Members,
        requester: Requester,
        verifier: Verifier,
        network_id: NetworkId,
        introduce: Callable[[Descriptor], None],
    ) -> None:
        """Prepare an empty table.

        Args:
            introduce: Told of an authentic member that a lookup found and the local membership does not know.
        """
        self._members = members
        self.local = place(kademlia_id_of(members.local))
        """Where this peer is in the space."""

        self._protocol = MemberProtocol(
            self.local,
            members=members,
            requester=requester,
            verifier=verifier,
            network_id=network_id,
            introduce=introduce,
        )
        self._requester = requester
        self._unplaced: dict[PeerId, Descriptor | None] = {}
        """Members that came or moved since the table was asked, and those of it that are gone (None)."""

    def member_up(self, descriptor: Descriptor) -> bool:
        """Add a member, or take its present address and boot; return whether this run of it was not here before.

        What it failed before is forgotten.
        """
        peer_id = descriptor.peer_id
        self._protocol.failures.forgive(kademlia_id_of(peer_id))
        known = self._unplaced[peer_id] if peer_id in self._unplaced else self._placed(peer_id)
        is_new = known is None or known.boot != descriptor.boot
        if known is None or is_new or known.address != descriptor.address:
            self._unplaced[peer_id] = descriptor
        return is_new

    def member_down(self, peer_id: PeerId) -> None:
        """Take a failed or departed member out at once."""
        if self._placed(peer_id) is not None:
            self._unplaced[peer_id] = None
        else:
            self._unplaced.pop(peer_id, None)

    def contact(self, node_id: bytes) -> MemberContact | None:
        """Return the member with this place, or None; the local peer is none."""
        found = self._router().find(node_id)
        return found if isinstance(found, MemberContact) else None

    def closest(self, digest: Digest, count: int) -> list[PeerId]:
        """Return the ``count`` members nearest to ``digest``, nearest first, the local peer among them where it is."""
        return [contact.peer_id for contact in self.closest_contacts(digest, count)]

    def closest_contacts(self, digest: Digest, count: int) -> list[MemberContact]:
        """Return the same as ``closest`` with addresses."""
        nearest = self._router().find_neighbors(place(digest), count)
        return self._with_local([contact for contact in nearest if isinstance(contact, MemberContact)], digest, count)

    async def lookup(self, digest: Digest, count: int, *, timeout_s: float) -> list[MemberContact]:
        """Return the ``count`` nearest members that answer, nearest first, the local peer among them where it is.

        Those that failed lately are neither asked nor returned. Fewer are returned when fewer answer in time.
        """
        self._place_all()
        nearest = self._protocol.rpc_find_node(self._members.local, self.local.id, digest)
        lookup = Lookup(digest, nearest, count=count)

        async def ask(contact: MemberContact) -> Answer[MemberContact] | None:
            answered, contacts = await self._protocol.call_find_node(contact, place(digest))
            return Answer(contacts) if answered else None

        await crawl(lookup, ask, patience_s=self._patience_s, timeout_s=timeout_s)
        return self._with_local(lookup.result(), digest, count)

    def answer_find_node(self, sender: PeerId, request: FindNode) -> FoundNodes:
        """Return the nearest members that are known here, as many as fit one datagram, without the one that asks."""
        self._place_all()
        contacts = self._protocol.rpc_find_node(sender, kademlia_id_of(sender), Digest(request.target))
        reply = FoundNodes(receiver_boot=_HEADER_MAX, request_id=_HEADER_MAX, contacts=())
        for contact in contacts[: request.count]:
            longer = msgspec.structs.replace(reply, contacts=(*reply.contacts, contact.descriptor))
            if codec.encoded_size(longer) > limits.MESSAGE_SIZE_MAX_BYTES:
                break
            reply = longer
        return msgspec.structs.replace(reply, receiver_boot=0, request_id=0)

    def _router(self) -> PairRoutingTable:
        """Return the routing table as it should be now."""
        self._place_all()
        return self._protocol.router

    def _place_all(self) -> None:
        for peer_id, descriptor in self._unplaced.items():
            if descriptor is not None:
                self._protocol.router.add_contact(MemberContact(descriptor))
            else:
                self._protocol.router.remove_contact(place(kademlia_id_of(peer_id)))
        self._unplaced.clear()

    def _placed(self, peer_id: PeerId) -> Descriptor | None:
        """Return how the table has a member, or None."""
        found = self._protocol.router.find(kademlia_id_of(peer_id))
        return found.descriptor if isinstance(found, MemberContact) else None

    def _patience_s(self, contact: MemberContact) -> float:
        usual_s = self._requester.usual_round_trip_s(contact.peer_id)
        return min(_PATIENCE_MAX_S, max(_PATIENCE_MIN_S, 2 * usual_s))

    def _with_local(self, contacts: list[MemberContact], digest: Digest, count: int) -> list[MemberContact]:
        local = self._members.find(self._members.local)
        if local is None:
            return contacts
        target = place(digest)
        return sorted([*contacts, MemberContact(local)], key=target.distance_to)[:count]
