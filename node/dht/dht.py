"""The door of the DHT: what a peer does for its users, and what it answers to other peers.

    put, delete ─→ Writer ─→ Storing ─→ holders            Store, Fetch, Offer, ListKeys ─→ Serving ─→ Keeper ─→ Shelf
    get ─→ Reader ─→ Inquiry ─→ holders                    Compare ─→ Repair ─→ Outbox ─→ holders
    keys ─→ Lister ─→ all members                          PullChanges ─→ Followers ─→ watching peers
    watch ─→ Watcher ─→ all members                        FindNode ─→ KademliaNode
"""

import asyncio
import contextlib
import functools
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

from node.dht.collecting import Collector
from node.dht.followers import Followers
from node.dht.holders import Holders
from node.dht.kademlia.members import KademliaNode
from node.dht.kademlia.stock_wire import StockWire
from node.dht.keeping import Keeper
from node.dht.listing import Lister
from node.dht.outbox import Outbox
from node.dht.reading import KeyGone, Reader
from node.dht.repair import Repair
from node.dht.serving import Serving
from node.dht.shelf import Shelf
from node.dht.surroundings import Surroundings
from node.dht.tasks import OwnedTasks
from node.dht.watching import Watcher
from node.dht.writing import Writer, check_key
from node.errors import OperationError
from node.ports import Members, NetworkTime, RecordStore, Requester
from node.service import ReadResult, WatchedChange
from node.shapes import Explain, KeyListing, WriteReceipt
from protocol.dht_messages import Compare, Fetch, FindNode, ListKeys, Offer, PullChanges, PushChange, Store
from protocol.errors import StoreError
from protocol.identity import Identity, Verifier
from protocol.ids import Digest, PeerId
from protocol.messages import Refusal, Reply, Request
from protocol.network import NetworkIdentity
from protocol.records import UNSIGNED_WRITER, Record
from protocol.statements import Descriptor

_STOCK_TIMEOUT_S: Final = 4.0
"""Below the five seconds after which a stock node gives up."""

_OFFERS_MAX: Final = 64
_LOOKUP_TIMEOUT_S: Final = 1.0

_log = logging.getLogger("pair.dht")


def _tell_nobody(descriptor: Descriptor) -> None:
    """Drop a member that a lookup found."""


class Dht:
    """The distributed hash table as one peer takes part in it."""

    def __init__(
        self,
        *,
        identity: Identity,
        network: NetworkIdentity,
        members: Members,
        requester: Requester,
        store: RecordStore,
        time: NetworkTime,
        verifier: Verifier,
        random: random.Random,
        k: int,
        introduce: Callable[[Descriptor], None] = _tell_nobody,
        send_stock: Callable[[bytes, tuple[str, int]], None] | None = None,
    ) -> None:
        """Join the parts; nothing runs yet.

        Args:
            introduce: Told of an authentic member that a lookup found and the membership does not know.
            send_stock: Sends a datagram of the stock Kademlia wire; given in open networks.
        """
        holders = Holders(members, k)
        around = self._around = Surroundings(
            identity=identity,
            network=network,
            members=members,
            holders=holders,
            requester=requester,
            time=time,
            verifier=verifier,
            random=random,
        )
        shelf = self._shelf = Shelf(store, holders, identity.peer_id)
        self.on_stored: Final[list[Callable[[Record], None]]] = shelf.on_stored
        """Called with each version that this peer stores."""

        keeper = Keeper(around, shelf)
        self._outbox = Outbox(around, shelf)
        self._collector = Collector(around, shelf)
        self._repair = Repair(around, shelf, self._outbox, learn_collected=self._collector.learn)
        self._serving = Serving(around, shelf, keeper, self._outbox)
        self._serving.on_disagreement.append(self._repair.spread)
        self._reader = Reader(around, shelf, keeper, is_settled=lambda: self._repair.is_settled)
        self._writer = Writer(around, shelf, keeper, self._reader)
        self._lister = Lister(around, self._serving)
        self._followers = Followers(around, shelf)
        self._watcher = Watcher(around, shelf)
        self._node = KademliaNode(
            members=members,
            requester=requester,
            verifier=verifier,
            network_id=network.network_id,
            introduce=introduce,
        )
        self._lookups = OwnedTasks(limit=1)
        holders.on_stranger.append(self._look_up)
        self._stock: StockWire | None = None
        self._offers = OwnedTasks(limit=_OFFERS_MAX)
        if network.open and send_stock is not None:
            self._stock = StockWire(node=self._node, read=self._read_live, store=self._store_stock, send=send_stock)

    async def start(self) -> None:
        """Read what is stored here and begin to take part."""
        self._shelf.load()
        members = self._around.members
        for peer_id in members.living_ids:
            descriptor = members.find(peer_id)
            if descriptor is not None and peer_id != members.local:
                self.member_up(descriptor)
        self._repair.start()
        self._collector.start()
        if self._stock is not None:
            self._stock.start()

    async def stop(self) -> None:
        """End everything that is at work; what was written is on disk. Idempotent."""
        if self._stock is not None:
            await self._stock.stop()
        for part in (
            self._offers,
            self._lookups,
            self._watcher,
            self._followers,
            self._writer,
            self._reader,
            self._collector,
            self._repair,
            self._outbox,
            self._shelf,
        ):
            await part.close()

    # What the membership says

    def member_up(self, descriptor: Descriptor) -> None:
        """A member came, came back or started anew, moved, or proved to live after a suspicion."""
        if self._node.member_up(descriptor):
            self._repair.member_up(descriptor.peer_id)
            self._watcher.member_up()
        else:
            self._repair.member_heard(descriptor.peer_id)

    def member_down(self, peer_id: PeerId) -> None:
        """A member failed or left."""
        self._node.member_down(peer_id)
        self._repair.member_down(peer_id)
        self._followers.member_down(peer_id)

    # What other peers ask

    def handle(self, sender: PeerId, request: Request) -> Reply | Coroutine[Any, Any, Reply]:
        """Answer a member's request: at once, unless that takes time."""
        try:
            return self._answer(sender, request)
        except StoreError as error:
            return _cannot_answer(error)

    def _answer(self, sender: PeerId, request: Request) -> Reply | Coroutine[Any, Any, Reply]:
        match request:
            case Fetch():
                return self._serving.fetch(request)
            case Store():
                return _answer_later(functools.partial(self._serving.store, sender, request))
            case Offer():
                return self._serving.offer(sender, request)
            case Compare():
                return self._repair.answer_compare(sender, request)
            case ListKeys():
                return _answer_later(functools.partial(self._serving.list_keys, request))
            case PullChanges():
                return self._followers.pull(sender, request)
            case PushChange():
                return self._watcher.pushed(request)
            case FindNode():
                return self._node.answer_find_node(sender, request)
            case _:
                return Refusal(reason="no request to a DHT")

    def stock_datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        """Take a datagram of the stock Kademlia wire."""
        if self._stock is not None:
            self._stock.datagram_received(data, source)

    @property
    def stock_counts(self) -> Mapping[str, int]:
        """What was said with stock nodes so far; empty in a network that is not open."""
        return self._stock.protocol.counts if self._stock is not None else {}

    # node.service.PeerService

    async def put(
        self, key: str, value: bytes, *, ttl_s: float | None, if_version: str | None, timeout_s: float
    ) -> WriteReceipt:
        """Write; see ``node.service.PeerService``."""
        receipt = await self._writer.put(key, value, ttl_s=ttl_s, if_version=if_version, timeout_s=timeout_s)
        if self._stock is not None:
            self._offers.start(self._offer_to_stock(self._stock, self._around.place_of(key), value))
        return receipt

    async def get(self, key: str, *, quorum: bool, timeout_s: float) -> ReadResult:
        """Read; see ``node.service.PeerService``."""
        check_key(key)
        try:
            return await self._reader.get(key, quorum=quorum, timeout_s=timeout_s)
        except OperationError as error:
            if self._stock is None or error.type != "not-found" or isinstance(error, KeyGone):
                raise
            value = await self._stock.find_value(self._around.place_of(key), timeout_s=min(timeout_s, _STOCK_TIMEOUT_S))
            if value is None:
                raise
        record = Record(author_key=UNSIGNED_WRITER, key=key, value=value, stamp=0)
        explain = Explain(served_by=self._around.local.hex(), holders=[], asked=[])
        return ReadResult(record=record, explain=explain)

    async def delete(self, key: str, *, if_version: str | None, timeout_s: float) -> WriteReceipt:
        """Delete; see ``node.service.PeerService``."""
        return await self._writer.delete(key, if_version=if_version, timeout_s=timeout_s)

    async def keys(self, prefix: str, *, timeout_s: float) -> KeyListing:
        """List; see ``node.service.PeerService``."""
        return await self._lister.keys(prefix, timeout_s=timeout_s)

    def watch(self, prefix: str, *, exact: bool, since: str | None) -> AsyncGenerator[WatchedChange, None]:
        """Follow changes; see ``node.service.PeerService``."""
        return self._watcher.watch(prefix, exact=exact, since=since)

    # Beyond the member table

    def _look_up(self, place: Digest) -> None:
        """Find a member that another peer names as a holder and this one does not know."""
        self._lookups.start(self._introduce_nearest(place))

    async def _introduce_nearest(self, place: Digest) -> None:
        await self._node.lookup(place, self._around.holders.k, timeout_s=_LOOKUP_TIMEOUT_S)
        await asyncio.sleep(_LOOKUP_TIMEOUT_S)  # One lookup in this time: whoever is dead may be named often.

    # Open networks

    def _read_live(self, place: Digest) -> Record | None:
        record = self._shelf.read_if_possible(place)
        return record if record is not None and record.is_live(self._around.time.now_ms()) else None

    async def _store_stock(self, place: Digest, value: bytes) -> bool:
        return await self._writer.put_unsigned(place, value, timeout_s=_STOCK_TIMEOUT_S)

    async def _offer_to_stock(self, stock: StockWire, place: Digest, value: bytes) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOCK_TIMEOUT_S):
                await stock.set_digest(place, value)


async def _answer_later(serve: Callable[[], Awaitable[Reply]]) -> Reply:
    """Begin to serve only when awaited: a peer that stops may never come to it."""
    try:
        return await serve()
    except StoreError as error:
        return _cannot_answer(error)


def _cannot_answer(error: StoreError) -> Refusal:
    _log.warning("a request cannot be answered: %s", error)
    return Refusal(reason="store-failed")
