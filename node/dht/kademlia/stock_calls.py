"""Calls to stock nodes: tried again when a datagram is lost, bounded in number, believed only from who was asked."""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Final

import msgspec

from node.address_proofs import AddressProofs
from node.dht.kademlia import framing
from node.dht.kademlia.contacts import Contact, place
from node.dht.kademlia.protocol import CallResult, PairProtocol
from node.dht.kademlia.round_trips import RoundTrips
from protocol.errors import DecodeError
from protocol.ids import Digest

CONTACTS_MAX: Final = 512
"""Stock nodes kept; ten thousand of them would need some 150 in each table."""

_CALLS_MAX: Final = 32
"""Calls in flight; further ones wait their turn."""

_TRIES_MAX: Final = 3
_FAILED_CALLS_MAX: Final = 3
"""Failed calls in a row after which a contact is forgotten."""

_Address = tuple[str, int]


class StockCalls(PairProtocol):
    """The RPC vocabulary on the stock wire, outbound half: ``ping``, ``store``, ``find_node``, ``find_value``.

    1. Every pending call belongs to a task that waits for it, so a cancelled task leaves nothing behind.
    2. A contact is in the table only after its address answered a call of ours.
    3. Neither the local peer nor a member is ever a stock contact, and one address is one contact.
    """

    _outstanding: "dict[bytes, tuple[asyncio.Future[bytes], _Address]]"

    def __init__(
        self, local: Contact, *, send: Callable[[bytes, _Address], None], is_member: Callable[[bytes], bool]
    ) -> None:
        super().__init__(local, capacity=CONTACTS_MAX)
        self.counts: dict[str, int] = {"calls": 0, "retries": 0, "malformed": 0, "throttled": 0, "served": 0}
        self._send = send
        self._is_member = is_member
        self._slots = asyncio.Semaphore(_CALLS_MAX)
        self._by_address: dict[_Address, Contact] = {}
        """The contacts of the table, the one that was silent longest first."""

        self._proofs = AddressProofs()
        self.round_trips = RoundTrips()
        self._is_closed = False

    @property
    def contacts(self) -> list[Contact]:
        """The stock nodes that are known, the one that was silent longest first."""
        return list(self._by_address.values())

    async def ping(self, address: _Address, node_id: Digest, *, tries: int = _TRIES_MAX) -> CallResult:
        """Ask for the id of the node at ``address``."""
        return await self._call(address, framing.ping_reply, "ping", node_id, tries=tries)

    async def store(self, address: _Address, node_id: Digest, key: Digest, value: bytes) -> CallResult:
        """Ask a node to keep a value; text travels as text, which is what stock users expect to read."""
        return await self._call(address, framing.store_reply, "store", node_id, key, framing.value_to_wire(value))

    async def find_node(self, address: _Address, node_id: Digest, key: Digest) -> CallResult:
        """Ask for the contacts nearest to ``key``."""
        answered, entries = await self._call(address, framing.find_node_reply, "find_node", node_id, key)
        return (True, self._strangers(entries, told_by=address)) if answered else (False, None)

    async def find_value(self, address: _Address, node_id: Digest, key: Digest) -> CallResult:
        """Ask for the value of ``key``, as bytes, or for the contacts nearest to it."""
        answered, found = await self._call(address, framing.find_value_reply, "find_value", node_id, key)
        if not answered:
            return (False, None)
        if not isinstance(found, framing.FoundValue):
            return (True, self._strangers(found, told_by=address))
        try:
            return (True, framing.value_of(found.value))
        except DecodeError:  # a number, or more than anybody may keep: as good as nothing, but an honest answer
            return (True, [])

    async def call_ping(self, node_to_ask: Contact) -> CallResult:
        """Check that ``node_to_ask`` lives, under the id that it is known by."""
        answered, node_id = await self.ping(node_to_ask.address, self.source_node.id)
        return self.handle_call_response((answered and node_id == node_to_ask.id, node_id), node_to_ask)

    def welcome_if_new(self, node: Contact) -> None:
        """Add a contact whose address is proven, or take its present address if it is known."""
        if not self._is_stranger(node):
            return
        earlier, same_address = self.router.find(node.id), self._by_address.get(node.address)
        if same_address is not None and same_address.id != node.id:
            self._forget(same_address)
        if earlier is not None and earlier.address != node.address:
            self._forget(earlier)
        if self.router.add_contact(node):
            self._by_address.pop(node.address, None)
            self._by_address[node.address] = node

    def handle_call_response(self, result: CallResult, node: Contact) -> CallResult:
        """Note whether ``node`` answered, and forget it after several failed calls in a row."""
        super().handle_call_response(result, node)
        if not result[0] and self.failures.count(node.id) >= _FAILED_CALLS_MAX:
            known = self.router.find(node.id)
            if known is not None and known.same_home_as(node):
                self._forget(known)
        return result

    def nearest(self, digest: Digest, count: int) -> list[Contact]:
        """Return the stock contacts nearest to ``digest`` that did not fail lately, nearest first."""
        return [each for each in self.router.find_neighbors(place(digest), count) if not self.is_avoided(each)]

    def _forget(self, contact: Contact) -> None:
        self.router.remove_contact(contact)
        self._by_address.pop(contact.address, None)

    def _strangers(self, entries: list[framing.FoundEntry], *, told_by: _Address) -> list[Contact]:
        """Return the stock nodes that an answer names: no member, not this peer, nobody who failed lately."""
        contacts = framing.contacts_of(entries, told_by=told_by[0])
        return [each for each in contacts if self._is_stranger(each) and not self.is_avoided(each)]

    def _is_stranger(self, contact: Contact) -> bool:
        return contact.id != self.source_node.id and not self._is_member(contact.id)

    async def _call(
        self,
        address: _Address,
        decoder: "msgspec.msgpack.Decoder[Any]",
        name: str,
        *arguments: object,
        tries: int = _TRIES_MAX,
    ) -> CallResult:
        """Call ``name`` at ``address``; see ``CallResult``.

        Raises:
            LocalProtocolError: The arguments are larger than the wire takes.
        """
        async with self._slots:
            body = await self._ask(address, name, arguments, tries)
        if body is None:
            return (False, None)
        try:
            return (True, framing.decode_body(body, decoder))
        except DecodeError:
            self.counts["malformed"] += 1
            return (False, None)

    async def _ask(self, address: _Address, name: str, arguments: tuple[object, ...], tries: int) -> bytes | None:
        """Send one call until it is answered or ``tries`` are used up."""
        loop = asyncio.get_running_loop()
        message_id = os.urandom(framing.MESSAGE_ID_SIZE_BYTES)
        datagram = framing.encode_request(message_id, name, arguments)
        future: asyncio.Future[bytes] = loop.create_future()
        wait_s = self.round_trips.patience_s(address)
        self._outstanding[message_id] = (future, address)
        try:
            for tried in range(tries):
                if self._is_closed:
                    return None
                self.counts["calls" if tried == 0 else "retries"] += 1
                sent_at = loop.time()
                self._send(datagram, address)
                await asyncio.wait((future,), timeout=wait_s)
                if future.done():
                    if tried == 0:
                        self.round_trips.add(address, loop.time() - sent_at)
                    return future.result()
                wait_s *= 2
            return None
        finally:
            del self._outstanding[message_id]

    def _accept_response(self, msg_id: bytes, data: bytes, address: _Address) -> None:
        """Give an answer to the call that waits for it; anything else is dropped."""
        future, asked = self._outstanding.get(msg_id, (None, None))
        if future is None or future.done() or asked != address:
            return
        self._proofs.prove(address, asyncio.get_running_loop().time())
        future.set_result(data)
