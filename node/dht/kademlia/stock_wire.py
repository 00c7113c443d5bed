"""One peer's part in a stock Kademlia network: lookups, values offered, and the upkeep of what it knows.

A subclass of the library's server without a socket, a storage or a state file of its own: datagrams come and go
through the peer's port, values are kept by the DHT. Each public method of the library's server is either overridden
here or refused, so that none of its lookups, loops or files is ever used by accident.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NoReturn

from kademlia.network import Server
from kademlia.utils import digest

from node.dht.kademlia import framing
from node.dht.kademlia.contacts import Contact, place
from node.dht.kademlia.crawl import Answer, crawl
from node.dht.kademlia.lookup import ALPHA, Lookup
from node.dht.kademlia.members import KademliaNode
from node.dht.kademlia.protocol import BUCKET_SIZE, CallResult
from node.dht.kademlia.stock_protocol import StockProtocol
from protocol.errors import LocalProtocolError
from protocol.ids import Digest
from protocol.records import Record

_OPERATIONS_MAX: Final = 16
"""Lookups and stores at once; further ones wait their turn."""

_LOOKUP_TIMEOUT_S: Final = 2.0
_UPKEEP_INTERVAL_S: Final = 60.0
_CHECKED_MAX: Final = 32
"""Contacts pinged in one round of upkeep."""

_Address = tuple[str, int]
_log = logging.getLogger("pair.kademlia")


class StockWire(Server):
    """Speaks with stock nodes through the socket of an open network's peer."""

    protocol_class = StockProtocol
    protocol: StockProtocol

    def __init__(
        self,
        *,
        node: KademliaNode,
        read: Callable[[Digest], Record | None],
        store: Callable[[Digest, bytes], Awaitable[bool]],
        send: Callable[[bytes, _Address], None],
    ) -> None:
        """Prepare the wire; it answers from now on and looks after its contacts once started.

        Args:
            read: Returns the live record that this peer holds at a place: no tombstone, nothing expired.
            store: Writes an unsigned record to its holders; returns whether enough of them confirmed.
            send: Sends one datagram, with no word of success.
        """
        super().__init__(ksize=BUCKET_SIZE, alpha=ALPHA, node_id=node.local.id)
        self.storage = None
        self.protocol = self.protocol_class(node.local, node=node, read=read, store=store, send=send)
        self._operations = asyncio.Semaphore(_OPERATIONS_MAX)
        self._upkeep: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look after the stock contacts."""
        self.refresh_table()

    async def stop(self) -> None:
        """End everything that is at work; calls made later find nobody. Idempotent."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
            self._upkeep = None
        await self.protocol.close()

    def datagram_received(self, data: bytes, source: _Address) -> None:
        """Take a datagram that starts as those of stock nodes do."""
        self.protocol.datagram_received(data, source)

    async def get(self, key: str | bytes) -> bytes | None:
        """Return a value that stock nodes hold, or None."""
        return await self.find_value(Digest(digest(key)))

    async def find_value(self, dkey: Digest, *, timeout_s: float = _LOOKUP_TIMEOUT_S) -> bytes | None:
        """Return the value at ``dkey`` that stock nodes hold, or None when none is found in time. Never raises."""

        async def ask(contact: Contact) -> Answer[Contact] | None:
            answered, found = await self.protocol.call_find_value(contact, place(dkey))
            if not answered:
                return None
            return Answer(value=found) if isinstance(found, bytes) else Answer(found)

        try:
            async with asyncio.timeout(timeout_s), self._operations:
                return await self._crawl(self._lookup(dkey), ask)
        except TimeoutError:
            return None

    async def set(self, key: str | bytes, value: bytes) -> int:
        """Offer a value to stock nodes; see ``set_digest``."""
        return await self.set_digest(Digest(digest(key)), value)

    async def set_digest(self, dkey: Digest, value: bytes) -> int:
        """Offer a value to the stock nodes nearest to ``dkey``; return how many took it. Never raises.

        They are not holders: what they keep is a convenience for other stock nodes. A value that their wire cannot
        carry is offered to nobody.
        """
        if len(value) > framing.VALUE_SIZE_MAX_BYTES:
            return 0
        async with self._operations:
            nearest = await self._nearest_alive(dkey)
            results: list[CallResult] = await asyncio.gather(
                *(self.protocol.call_store(contact, dkey, value) for contact in nearest)
            )
        return sum(answered and confirmed for answered, confirmed in results)

    async def bootstrap(self, addrs: Sequence[_Address]) -> list[Contact]:
        """Ask the nodes at ``addrs`` (IP addresses) who they are, and find those near to this peer; never raises."""
        await asyncio.gather(*(self.bootstrap_node(address) for address in addrs))
        return await self._nearest_alive(self.node.id)

    async def bootstrap_node(self, addr: _Address) -> Contact | None:
        """Return the stock node at ``addr``, or None: nobody answers there, or a member or this peer does."""
        answered, node_id = await self.protocol.ping(addr, self.node.id)
        if not answered:
            return None
        contact = Contact(Digest(node_id), *addr)
        self.protocol.welcome_if_new(contact)
        return contact if self.protocol.router.find(contact.id) is contact else None

    def refresh_table(self, interval: float = _UPKEEP_INTERVAL_S) -> None:
        """Look after the contacts every ``interval`` seconds, whatever happens in one round."""
        if self._upkeep is None:
            self._upkeep = asyncio.get_running_loop().create_task(self._look_after_contacts(interval))

    async def listen(self, port: int, interface: str = "") -> NoReturn:
        """Refuse: the peer's port is the only socket."""
        raise LocalProtocolError("a stock wire uses the socket of its peer")

    def save_state(self, fname: str) -> NoReturn:
        """Refuse: stock contacts come back by themselves, and a pickle is not safe to read."""
        raise LocalProtocolError("a stock wire keeps no state file")

    @classmethod
    async def load_state(cls, fname: str, port: int, interface: str = "") -> NoReturn:
        """Refuse: a pickle runs whatever program it holds."""
        raise LocalProtocolError("a stock wire keeps no state file")

    async def _look_after_contacts(self, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            try:
                await self._refresh_table()
            except Exception as error:  # the top of this task: one bad round must not be the last
                _log.error("looking after stock contacts failed: %r", error, exc_info=error)

    async def _refresh_table(self) -> None:
        """Check the contacts that were silent longest and look for new neighbours; an empty table asks nobody."""
        contacts = self.protocol.contacts[:_CHECKED_MAX]
        await asyncio.gather(*(self.protocol.call_ping(contact) for contact in contacts))
        if self.protocol.contacts:
            await self._nearest_alive(self.node.id)

    async def _nearest_alive(self, target: Digest) -> list[Contact]:
        """Return the stock nodes nearest to ``target`` that answer, nearest first."""

        async def ask(contact: Contact) -> Answer[Contact] | None:
            answered, contacts = await self.protocol.call_find_node(contact, place(target))
            return Answer(contacts) if answered else None

        lookup = self._lookup(target)
        await self._crawl(lookup, ask)
        return lookup.result()

    def _lookup(self, target: Digest) -> Lookup[Contact]:
        return Lookup(target, self.protocol.nearest(target, self.ksize), count=self.ksize, alpha=self.alpha)

    async def _crawl(
        self, lookup: Lookup[Contact], ask: Callable[[Contact], Awaitable[Answer[Contact] | None]]
    ) -> bytes | None:
        return await crawl(
            lookup,
            ask,
            patience_s=lambda contact: self.protocol.round_trips.patience_s(contact.address),
            timeout_s=_LOOKUP_TIMEOUT_S,
        )
