"""One peer: its parts, how they are joined, in which order they start and stop.

    datagrams ─┬─ control messages ─→ driver ─→ core ─→ effects ─→ datagrams, links, vote file
               └─ requests, replies ─→ exchange ─→ DHT ─→ record store
    peer port (TLS) ─→ DHT      API ─→ this class      core's events ─→ DHT, events, remembered peers
"""

import asyncio
import logging
import os
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from bootstrap.discovery import Discovery, NoDiscovery, ZeroconfDiscovery
from node import __version__
from node.api import ApiServer
from node.clock import steady_s, wall_ms
from node.config import PeerConfig
from node.datagrams import DatagramPort
from node.dht import Dht
from node.driver import Driver
from node.events import EventBus
from node.exchange import Exchange
from node.handover import Handovers
from node.links import Links
from node.membership_view import MembershipView
from node.peer_client import PeerClient
from node.peer_disk import PeerDisk
from node.peer_port import PeerPort
from node.remembering import Remembering
from node.reports import Reports
from node.service import PeerEvent, ReadResult, WatchedChange
from node.shapes import Health, KeyListing, Leader, Member, Status, WriteReceipt
from node.tls import PeerTls
from protocol.config import PROFILES
from protocol.core import Core, CoreStart
from protocol.effects import (
    Alarm,
    ConnectionRefused,
    ContactsFound,
    Event,
    LeaderChanged,
    LeaveAsked,
    LinkLost,
    MemberChanged,
    Received,
    RoleChanged,
)
from protocol.errors import EnvironmentFault, StoreError
from protocol.identity import CachingVerifier
from protocol.ids import PeerId, short_id_of
from protocol.messages import HandoverWish, Refusal, Reply, Request
from protocol.records import Record
from protocol.statements import Address, Descriptor, signed

_log = logging.getLogger("pair.peer")


class Peer:
    """Implements ``node.service.PeerService`` on the parts of one running peer.

    Parts start in the order in which they need each other, and stop in reverse; ``start`` may fail half-way, and
    ``stop`` ends what was started.
    """

    def __init__(self, config: PeerConfig, *, stop: asyncio.Event) -> None:
        """Prepare a peer; ``stop`` is set when it wants to end, by itself or because somebody asked."""
        self._config = config
        self._stop = stop
        self._parts = AsyncExitStack()
        self._random = random.Random(os.urandom(16))
        self._verifier = CachingVerifier()
        self._events = EventBus()
        self.failure: EnvironmentFault | None = None
        """Why the peer ended by itself."""

    async def start(self) -> None:
        """Start all parts.

        Raises:
            EnvironmentFault: Something on this machine does not allow it; ``stop`` still has to be called.
        """
        self._disk = await self._parts.enter_async_context(PeerDisk.opened(self._config))
        self._bind_parts()
        await self._datagrams.open(self._config.bind, self._config.port)
        self._parts.callback(self._datagrams.close)
        await self._peer_port.start()
        self._parts.push_async_callback(self._peer_port.stop)
        self._parts.push_async_callback(self._client.close)
        self._parts.push_async_callback(self._links.close)
        self._parts.callback(self._driver.close)
        self._parts.push_async_callback(self._exchange.stop)
        await self._dht.start()
        self._parts.push_async_callback(self._dht.stop)
        self._parts.callback(self._remembering.close)
        await self._api.start()
        self._parts.push_async_callback(self._api.stop)
        self._parts.callback(self._events.close)
        self._disk.begin_run(address=str(self._core.descriptor.address), api=f"http://{self._core.descriptor.api}")
        self._driver.handle(ContactsFound(self._config.seeds))
        await self._discovery.start(lambda address: self._driver.handle(ContactsFound((address,))))
        self._parts.push_async_callback(self._discovery.stop)
        self._parts.callback(lambda: self._driver.handle(LeaveAsked()))
        _log.info("started %s at %s, API %s", self._config.name, self._core.descriptor.address, self._api.port)

    async def stop(self) -> None:
        """Say goodbye and stop all parts. Idempotent."""
        await self._parts.aclose()

    def _bind_parts(self) -> None:
        """Make the parts and join them; nothing runs yet."""
        config, disk = self._config, self._disk
        core = self._core = Core(self._core_start())
        self._members = MembershipView(core)
        self._reports = Reports(core=core, config=config)
        self._datagrams = DatagramPort(
            network=config.network,
            peer_id=disk.identity.peer_id,
            boot=core.descriptor.boot,
            on_message=self._message_received,
            on_stock_datagram=self._stock_datagram_received if config.network.open else None,
        )
        self._links = Links(
            hello_bytes=lambda peer: self._datagrams.seal_hello(short_id_of(peer.peer_id)),
            on_lost=lambda peer_id: self._driver.handle(LinkLost(peer_id)),
            on_refused=lambda peer_id, boot: self._driver.handle(ConnectionRefused(peer_id, boot)),
        )
        self._driver = Driver(
            core=core,
            datagrams=self._datagrams,
            links=self._links,
            votes=disk.votes,
            on_event=self._event_happened,
            on_broken=self._broke,
        )
        tls = PeerTls(identity=disk.identity, network=config.network, folder=config.folder)
        self._client = PeerClient(tls)
        self._peer_port = PeerPort(
            tls=tls,
            bind=config.bind,
            port=config.port,
            handle=self._tcp_request_received,
            check_hello=self._check_hello,
            count_members=lambda: len(self._members.living()),
        )
        self._exchange = Exchange(
            members=self._members,
            datagrams=self._datagrams,
            client=self._client,
            handle=self._serve,
            random=self._random,
        )
        self._handovers = Handovers(core=core, requester=self._exchange, ask_core=self._driver.handle)
        self._dht = Dht(
            identity=disk.identity,
            network=config.network,
            members=self._members,
            requester=self._exchange,
            store=disk.records,
            time=self,
            verifier=self._verifier,
            random=self._random,
            k=config.k,
            introduce=lambda descriptor: self._driver.handle(ContactsFound((descriptor.address,))),
            send_stock=self._datagrams.send_stock,
        )
        self._dht.on_stored.append(self._record_stored)
        self._remembering = Remembering(living=self._members.living, save=disk.remember)
        self._discovery = self._make_discovery()
        self._api = ApiServer(
            service=self,
            tokens=disk.tokens,
            bind=config.api_bind,
            port=config.api_port,
            hosts=config.api_hosts,
            metrics=self._metrics,
        )

    def _core_start(self) -> CoreStart:
        config, disk = self._config, self._disk
        descriptor = Descriptor(
            author_key=disk.identity.public_key,
            name=config.name,
            address=Address(config.advertised_host, config.port),
            api=Address(config.advertised_host if config.api_bind == "0.0.0.0" else config.api_bind, config.api_port),
            boot=disk.boot,
            incarnation=0,
            version=__version__,
        )
        return CoreStart(
            identity=disk.identity,
            network=config.network,
            descriptor=signed(descriptor, disk.identity, config.network.network_id),
            config=PROFILES[config.profile],
            verifier=self._verifier,
            random=self._random,
            promise=disk.promise,
            may_vote=disk.may_vote,
            remembered=disk.remembered,
            wall_ms=wall_ms(),
            now=steady_s(),
        )

    def _make_discovery(self) -> Discovery:
        if not self._config.zeroconf:
            return NoDiscovery()
        return ZeroconfDiscovery(
            network_id=self._config.network.network_id,
            peer_id=self._disk.identity.peer_id,
            bind=self._config.bind,
            port=self._config.port,
            slots_folder=self._config.network_folder,
            patience_s=1.0 if self._config.seeds or self._disk.remembered else 0.0,
        )

    # What comes in

    def _message_received(self, received: Received) -> None:
        message = received.message
        if isinstance(message, Reply):
            self._exchange.reply_received(received.sender, message)
        elif isinstance(message, Request) and self._is_from_member(received):
            sender = self._core.membership.table.by_short_id(received.sender)
            assert sender is not None, "checked just now"
            self._exchange.request_received(sender.descriptor, message)
        else:
            self._driver.handle(received)

    def _is_from_member(self, received: Received) -> bool:
        """Return whether a request may be served; the core answers all others (introduce yourself; my boot is)."""
        member = self._core.membership.table.by_short_id(received.sender)
        if member is None or member.descriptor.boot != received.sender_boot:
            return False
        return not received.message.changes_state or received.message.receiver_boot == self._core.descriptor.boot

    async def _tcp_request_received(self, sender: PeerId, request: Request) -> Reply:
        if self._members.find(sender) is None:
            return Refusal(reason="not a member here")
        if request.changes_state and request.receiver_boot != self._core.descriptor.boot:
            return Refusal(reason="meant for another boot")
        return await self._serve(sender, request)

    async def _serve(self, sender: PeerId, request: Request) -> Reply:
        if isinstance(request, HandoverWish):
            return self._handovers.serve(request)
        return await self._dht.handle(sender, request)

    def _stock_datagram_received(self, data: bytes, source: tuple[str, int]) -> None:
        self._dht.stock_datagram_received(data, source)

    def _check_hello(self, sealed: bytes) -> PeerId | None:
        sender = self._datagrams.open_hello(sealed)
        member = self._core.membership.table.by_short_id(sender) if sender is not None else None
        return member.peer_id if member is not None else None

    # What the core reports

    def _event_happened(self, event: Event) -> None:
        match event:
            case MemberChanged():
                self._member_changed(event)
            case LeaderChanged():
                self._handovers.leader_changed()
                self._events.publish("leader", _leader_body(self.leader()))
            case RoleChanged(role, term):
                self._events.publish("role", {"id": self._core.descriptor.peer_id.hex(), "role": role, "term": term})
            case Alarm(text):
                _log.warning("alarm: %s", text)
                self._events.publish("alarm", {"text": text})
            case _:
                pass

    def _member_changed(self, event: MemberChanged) -> None:
        self._members.changed()
        peer_id = event.descriptor.peer_id
        if peer_id != self._members.local:
            if event.state in ("failed", "left"):
                self._exchange.member_down(peer_id)
                self._dht.member_down(peer_id)
            elif event.previous not in ("alive", "suspect") or event.state == "alive":
                self._dht.member_up(event.descriptor)
        self._remembering.changed()
        self._discovery.set_alone(len(self._members.living()) < 2)
        body = {"id": peer_id.hex(), "name": event.descriptor.name, "state": event.state, "previous": event.previous}
        self._events.publish("member", body)

    def _record_stored(self, record: Record) -> None:
        kind = "delete" if record.is_tombstone else "put"
        self._events.publish("record", {"event": kind, "key": record.key, "version": record.version})

    def _broke(self, error: BaseException) -> None:
        if isinstance(error, EnvironmentFault):
            self.failure = error
        else:
            self.failure = StoreError(f"the peer cannot trust its memory: {error!r}", next_step="see its peer.log")
        self._stop.set()

    def _metrics(self) -> dict[str, float]:
        counts: dict[str, float] = {f"datagrams_{name}": value for name, value in self._datagrams.counts.items()}
        counts.update({f"exchange_{name}": value for name, value in self._exchange.counts.items()})
        return counts

    # node.ports.NetworkTime

    def now_ms(self) -> int:
        """Return network time in milliseconds since 1970."""
        return self._core.network_time_ms(steady_s())

    # node.service.PeerService

    def health(self) -> Health:
        return Health(alive=True, ready=self._core.is_ready)

    def status(self) -> Status:
        return self._reports.status(keys_held=self._disk.records.count())

    def members(self) -> list[Member]:
        return self._reports.members()

    def leader(self) -> Leader:
        return self._reports.leader()

    async def hand_over(self, to: str | None) -> Leader:
        await self._handovers.hand_over(to)
        return self.leader()

    async def put(
        self, key: str, value: bytes, *, ttl_s: float | None, if_version: str | None, timeout_s: float
    ) -> WriteReceipt:
        return await self._dht.put(key, value, ttl_s=ttl_s, if_version=if_version, timeout_s=timeout_s)

    async def get(self, key: str, *, quorum: bool, timeout_s: float) -> ReadResult:
        return await self._dht.get(key, quorum=quorum, timeout_s=timeout_s)

    async def delete(self, key: str, *, if_version: str | None, timeout_s: float) -> WriteReceipt:
        return await self._dht.delete(key, if_version=if_version, timeout_s=timeout_s)

    async def keys(self, prefix: str, *, timeout_s: float) -> KeyListing:
        return await self._dht.keys(prefix, timeout_s=timeout_s)

    def watch(self, prefix: str, *, exact: bool, since: str | None) -> AsyncIterator[WatchedChange]:
        return self._dht.watch(prefix, exact=exact, since=since)

    def events(self) -> AsyncIterator[PeerEvent]:
        return self._events.listen()


def _leader_body(leader: Leader) -> dict[str, str | int | None]:
    return {"id": leader.id, "name": leader.name, "term": leader.term}
