"""Serves stock nodes: the inbound half of the stock wire.

Nothing that comes in is believed: arguments have exact types and sizes, sources are limited in rate, an address is
proved before it gets a large answer or a place in the table, and whatever goes wrong is answered (``False``, an empty
list, nil), for silence makes a stock node wait five seconds and forget a healthy peer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from node.address_proofs import AMPLIFICATION_MAX
from node.datagrams import StrangerLimit
from node.dht.kademlia import framing
from node.dht.kademlia.contacts import Contact
from node.dht.kademlia.framing import StockReply, StockRequest
from node.dht.kademlia.members import KademliaNode
from node.dht.kademlia.protocol import BUCKET_SIZE
from node.dht.kademlia.stock_calls import StockCalls
from protocol.errors import DecodeError
from protocol.ids import Digest
from protocol.records import Record

_STORES_MAX: Final = 64
"""Inbound ``store`` calls at work; more are refused."""

_STORE_TIMEOUT_S: Final = 4.0
"""A stock node waits 5 s for its answer."""

_PROOF_TRIES_MAX: Final = 2
"""Pings to an unproven address: with these, too, less is sent there than came from there."""

_REFUSALS: Final[dict[str, object]] = {"store": False, "find_node": [], "find_value": []}
"""What a stock node makes sense of when its call is refused; anything else gets nil."""

_Address = tuple[str, int]
_log = logging.getLogger("pair.kademlia")


class StockProtocol(StockCalls):
    """One peer as stock nodes see it: a Kademlia node that knows all members and the stock nodes that it met."""

    def __init__(
        self,
        local: Contact,
        *,
        node: KademliaNode,
        read: Callable[[Digest], Record | None],
        store: Callable[[Digest, bytes], Awaitable[bool]],
        send: Callable[[bytes, _Address], None],
    ) -> None:
        super().__init__(local, send=send, is_member=lambda node_id: node.contact(node_id) is not None)
        self._node = node
        self._read = read
        self._store = store
        self._limit = StrangerLimit()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._stores = 0

    async def close(self) -> None:
        """End what is being served; from here on calls go unanswered at once. Idempotent."""
        self._is_closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def datagram_received(self, data: bytes, addr: _Address) -> None:
        """Take one datagram to its end; drop and count what is none."""
        if self._is_closed:
            return
        if not self._limit.allows(addr[0], asyncio.get_running_loop().time()):
            self.counts["throttled"] += 1
            return
        try:
            message = framing.decode(data)
        except DecodeError:
            self.counts["malformed"] += 1
            return
        if isinstance(message, StockReply):
            self._accept_response(message.message_id, message.body, addr)
        else:
            self._accept_request(message, addr)

    # The calls that stock nodes make; arguments are decoded, and the sender is an address.

    def rpc_ping(self, sender: _Address, nodeid: Digest) -> Digest:
        """Say who this is."""
        self._meet(sender, nodeid)
        return self.source_node.id

    def rpc_stun(self, sender: _Address) -> _Address:
        """Say under which address the sender is seen."""
        return sender

    def rpc_find_node(self, sender: _Address, nodeid: Digest, key: Digest) -> list[list[object]]:
        """Return the nearest to ``key``, members and stock nodes alike, as stock nodes write them."""
        self._meet(sender, nodeid)
        members = [each for each in self._node.closest_contacts(key, BUCKET_SIZE) if each.id != self.source_node.id]
        target = int.from_bytes(key, "big")
        everybody = sorted([*members, *self.nearest(key, BUCKET_SIZE)], key=lambda each: each.long_id ^ target)
        told = [each for each in everybody if each.address != sender and framing.may_tell(each.ip, told_to=sender[0])]
        return framing.entries_of(told[:BUCKET_SIZE])

    def rpc_find_value(self, sender: _Address, nodeid: Digest, key: Digest) -> object:
        """Return the value that is held here, or else what ``find_node`` does; so too for one that fits no answer."""
        record = self._read(key)
        if record is None or len(record.value) > framing.VALUE_SIZE_MAX_BYTES:
            return self.rpc_find_node(sender, nodeid, key)
        self._meet(sender, nodeid)
        return {"value": framing.value_to_wire(record.value)}

    async def rpc_store(self, sender: _Address, nodeid: Digest, key: Digest, value: bytes) -> bool:
        """Write a value through the DHT; return whether enough holders have it.

        A value that is held here already is not written again: most such calls come from stock nodes that publish
        once more, to everybody and every hour, what they were given.
        """
        self._meet(sender, nodeid)
        held = self._read(key)
        return (held is not None and held.value == value) or await self._store(key, value)

    def _accept_request(self, request: StockRequest, source: _Address) -> None:
        self.counts["served"] += 1
        try:
            if request.name == "store":
                self._begin_store(request, source)
                return
            body = self._answer(request, source)
        except DecodeError:
            self.counts["malformed"] += 1
            body = _REFUSALS.get(request.name)
        except Exception as error:  # the top of everything that one call causes: a defect is answered, too
            _log.error("serving %r for a stock node failed: %r", request.name, error, exc_info=error)
            body = _REFUSALS.get(request.name)
        self._reply(request, source, body)

    def _answer(self, request: StockRequest, source: _Address) -> object:
        match request.name:
            case "ping":
                (node_id,) = framing.decode_body(request.arguments, framing.ping_arguments)
                return self.rpc_ping(source, Digest(node_id))
            case "stun":
                return self.rpc_stun(source)
            case "find_node":
                node_id, key = framing.decode_body(request.arguments, framing.find_arguments)
                return self.rpc_find_node(source, Digest(node_id), Digest(key))
            case "find_value":
                node_id, key = framing.decode_body(request.arguments, framing.find_arguments)
                return self.rpc_find_value(source, Digest(node_id), Digest(key))
            case _:
                return None

    def _begin_store(self, request: StockRequest, source: _Address) -> None:
        node_id, key, raw = framing.decode_body(request.arguments, framing.store_arguments)
        value = framing.value_of(raw)
        if self._stores >= _STORES_MAX:
            self.counts["throttled"] += 1
            self._reply(request, source, False)
            return
        self._stores += 1
        self._begin(self._serve_store(request, source, Digest(node_id), Digest(key), value))

    async def _serve_store(
        self, request: StockRequest, source: _Address, node_id: Digest, key: Digest, value: bytes
    ) -> None:
        kept = False
        try:
            async with asyncio.timeout(_STORE_TIMEOUT_S):
                kept = await self.rpc_store(source, node_id, key, value)
        except Exception as error:  # the top of this task: a write that failed or took too long is answered, too
            _log.warning("storing %s for a stock node failed: %r", key.hex(), error)
        finally:
            self._stores -= 1
        self._reply(request, source, kept)

    def _reply(self, request: StockRequest, source: _Address, body: object) -> None:
        """Answer at once if that is safe, or once the source is proved to be there."""
        datagram = framing.encode_reply(request.message_id, body)
        is_proven = self._proofs.is_proven(source, asyncio.get_running_loop().time())
        if is_proven or len(datagram) <= AMPLIFICATION_MAX * request.size_bytes:
            self._send(datagram, source)
        else:
            self._proofs.hold(source, datagram)

    def _meet(self, source: _Address, node_id: Digest) -> None:
        """Refresh a contact that called, or begin to prove its address; it becomes a contact when it answers."""
        contact = Contact(node_id, *source)
        if self._proofs.is_proven(source, asyncio.get_running_loop().time()):
            self.welcome_if_new(contact)
        elif self._proofs.begin(source):
            self._begin(self._prove(contact))

    async def _prove(self, contact: Contact) -> None:
        try:
            answered, node_id = await self.ping(contact.address, self.source_node.id, tries=_PROOF_TRIES_MAX)
        finally:
            waiting = self._proofs.end(contact.address)
        if answered:
            self.welcome_if_new(Contact(Digest(node_id), *contact.address))
            for datagram in waiting:
                self._send(datagram, contact.address)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        if not task.cancelled() and task.exception() is not None:
            _log.error("a stock node's call failed: %r", task.exception())
