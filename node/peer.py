"""One peer: its parts, how they are joined, in which order they start and stop.

    transport ─┬─ what happened ─→ driver ─→ core ─→ effects ─→ transport, vote file
               └─ requests ─→ DHT ─→ record store
    API ─→ this class ─→ DHT, core's reports      core's events ─→ DHT, events, remembered peers
"""

import asyncio
import logging
import os
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack

from bootstrap.own_address import reachable_at
from node import __version__
from node.adapters import Adapters
from node.api import ApiServer
from node.bans import BANNED_NEXT_STEP, BANNED_TEXT, Bans
from node.clock import steady_s, wall_ms
from node.config import PeerConfig
from node.descriptors import caps_within
from node.dht import Dht
from node.driver import Driver
from node.errors import OperationError
from node.events import EventBus
from node.exchange import Answer
from node.faults.plane import FaultPlane
from node.handover import Handovers
from node.invites import Invites
from node.membership_view import MembershipView
from node.remembering import Remembering
from node.reports import Reports
from node.roaming import Roaming
from node.service import PeerEvent, ReadResult, WatchedChange
from node.shapes import Health, KeyListing, Leader, Member, Status, WriteReceipt
from node.transport import Transport
from protocol.config import PROFILES
from protocol.core import Core, CoreStart
from protocol.effects import (
    AddressChanged,
    Alarm,
    BanChanged,
    ContactsFound,
    Event,
    LeaderChanged,
    LeaveAsked,
    MemberChanged,
    RoleChanged,
)
from protocol.errors import EnvironmentFault, StoreError
from protocol.ids import PeerId
from protocol.messages import HandoverWish, Request
from protocol.records import Record
from protocol.statements import Ban, Descriptor, signed

_log = logging.getLogger("pair.peer")


class Peer:
    """Implements ``node.service.PeerService`` on the parts of one running peer.

    Parts start in the order in which they need each other, and stop in reverse; ``start`` may fail half-way, and
    ``stop`` ends what was started.
    """

    def __init__(self, config: PeerConfig, *, stop: asyncio.Event, adapters: Adapters) -> None:
        """Prepare a peer; ``stop`` is set when it wants to end, by itself or because somebody asked."""
        self._config = config
        self._adapters = adapters
        self._stop = stop
        self._parts = AsyncExitStack()
        self._ends_in_order = True
        self._random = random.Random(os.urandom(16))
        self._verifier = adapters.make_verifier()
        self._events = EventBus()
        self._faults = FaultPlane(random=self._random) if config.faults else None
        self.failure: EnvironmentFault | None = None
        """Why the peer ended by itself."""

    @property
    def core(self) -> Core:
        """What this peer knows and decides; for looking at. Only after ``start``."""
        return self._core

    @property
    def datagram_counts(self) -> Mapping[str, int]:
        """What became of the datagrams so far; for looking at. Only after ``start``."""
        return self._transport.datagrams.counts

    async def start(self) -> None:
        """Start all parts.

        Raises:
            EnvironmentFault: Something on this machine does not allow it; ``stop`` still has to be called.
        """
        self._disk = await self._parts.enter_async_context(self._adapters.open_disk(self._config))
        self._make_network_parts()
        self._make_service_parts()
        self._parts.push_async_callback(self._transport.stop)
        await self._transport.start()
        self._parts.callback(self._driver.close)
        self._parts.push_async_callback(self._transport.exchange.stop)
        await self._dht.start()
        self._parts.push_async_callback(self._dht.stop)
        self._parts.callback(self._remembering.close)
        await self._api.start()
        self._parts.push_async_callback(self._api.stop)
        self._parts.callback(self._events.close)
        self._begin_run()
        self._driver.handle(ContactsFound(self._config.seeds))
        await self._discovery.start(lambda address: self._driver.handle(ContactsFound((address,), are_hints=True)))
        self._parts.push_async_callback(self._discovery.stop)
        if self._config.roams:
            self._roaming.start()
            self._parts.push_async_callback(self._roaming.stop)
        self._parts.callback(self._say_goodbye)
        _log.info("started %s at %s, API %s", self._config.name, self._core.descriptor.address, self._api.port)
        if self._core.bans.own is not None:
            _log.warning(BANNED_TEXT)

    async def stop(self, *, in_order: bool = True) -> None:
        """Say goodbye, unless the end is not ``in_order``, and stop all parts. Idempotent."""
        self._ends_in_order = in_order
        await self._parts.aclose()

    def _say_goodbye(self) -> None:
        if self._ends_in_order:
            self._driver.handle(LeaveAsked())

    def _make_network_parts(self) -> None:
        """Make what this peer knows of the others, and how it talks with them; nothing runs yet."""
        config, disk = self._config, self._disk
        self._core = Core(self._core_start())
        self._members = MembershipView(self._core)
        self.invites = Invites(
            config=config,
            disk=disk,
            verifier=self._verifier,
            addresses=lambda: reachable_at(config.bind, self._core.descriptor.address.host, config.port),
            contacts=lambda: [member.address for member in self._members.living()],
            is_banned=self._core.bans.is_banned,
        )
        self.bans = Bans(
            core=self._core, network=config.network, disk=disk, ask_core=lambda given: self._driver.handle(given)
        )
        self._transport = Transport(
            config=config,
            identity=disk.identity,
            core=self._core,
            members=self._members,
            random=self._random,
            tell_core=lambda event: self._driver.handle(event),
            serve=self._serve,
            on_stock_datagram=lambda data, source: self._dht.stock_datagram_received(data, source),
            door=self.invites,
            faults=self._faults,
        )
        self._driver = Driver(
            core=self._core,
            datagrams=self._transport.datagrams,
            links=self._transport.links,
            votes=disk.votes,
            keep_voters=disk.keep_voters,
            keep_bans=disk.keep_bans,
            on_event=self._event_happened,
            on_broken=self._broke,
        )
        self._remembering = Remembering(living=self._members.living, save=disk.remember)
        self._discovery = self._adapters.make_discovery(config, disk)
        self._roaming = Roaming(
            current=lambda: self._core.descriptor.address.host,
            contacts=lambda: (*config.seeds, *(member.address for member in self._members.others())),
            look=self._adapters.present_address,
            moved=self._moved,
        )

    def _make_service_parts(self) -> None:
        """Make what serves people and other peers; nothing runs yet."""
        config, disk = self._config, self._disk
        exchange = self._transport.exchange
        self._reports = Reports(core=self._core, config=config)
        self._handovers = Handovers(core=self._core, requester=exchange, ask_core=self._driver.handle)
        self._dht = Dht(
            identity=disk.identity,
            network=config.network,
            members=self._members,
            requester=exchange,
            store=disk.records,
            time=self,
            verifier=self._verifier,
            random=self._random,
            k=config.k,
            introduce=lambda descriptor: self._driver.handle(ContactsFound((descriptor.address,))),
            send_stock=self._transport.datagrams.send_stock,
        )
        self._dht.on_stored.append(self._record_stored)
        self._api = ApiServer(
            service=self,
            tokens=disk.tokens,
            bind=config.api_bind,
            port=config.api_port,
            hosts=config.api_hosts,
            metrics=self._metrics,
            limits=caps_within(config.descriptors_max).api,
            faults=self._faults,
        )

    def _core_start(self) -> CoreStart:
        config, disk = self._config, self._disk
        descriptor = Descriptor(
            author_key=disk.identity.public_key,
            name=config.name,
            address=config.address_at(config.advertised_host),
            api=config.api_at(config.advertised_host),
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
            remembered=tuple(disk.remembered),
            voters=tuple(disk.voters),
            bans=tuple(disk.bans),
            wall_ms=wall_ms(),
            now=steady_s(),
        )

    def _serve(self, sender: PeerId, request: Request) -> Answer:
        if isinstance(request, HandoverWish):
            return self._handovers.serve(request)
        return self._dht.handle(sender, request)

    def _begin_run(self) -> None:
        own = self._core.descriptor
        self._disk.begin_run(address=str(own.address), api=f"http://{own.api}")

    def _moved(self, host: str) -> None:
        self._driver.handle(AddressChanged(self._config.address_at(host), self._config.api_at(host)))
        try:
            self._begin_run()
        except StoreError as error:
            _log.warning("other programs here look for this peer at its old address: %s", error)

    # What the core reports

    def _event_happened(self, event: Event) -> None:
        self._adapters.observe(event)
        match event:
            case MemberChanged():
                self._member_changed(event)
            case LeaderChanged():
                self._handovers.leader_changed()
                self._events.publish("leader", _leader_body(self.leader()))
            case RoleChanged(role, term):
                self._events.publish("role", {"id": self._core.descriptor.peer_id.hex(), "role": role, "term": term})
            case BanChanged(ban):
                self._ban_changed(ban)
            case Alarm(text):
                _log.warning("alarm: %s", text)
                self._events.publish("alarm", {"text": text})
            case _:
                pass

    def _member_changed(self, event: MemberChanged) -> None:
        peer_id = event.descriptor.peer_id
        if peer_id != self._members.local:
            if event.state in ("failed", "left"):
                self._transport.exchange.member_down(peer_id)
                self._dht.member_down(peer_id)
            elif event.previous not in ("alive", "suspect") or event.state == "alive":
                self._dht.member_up(event.descriptor)
        self._remembering.changed()
        self._discovery.set_alone(len(self._members.living_ids) < 2)
        if len(self._events):  # a cut changes hundreds of members at once, and mostly nobody listens
            self._events.publish("member", _member_body(event))

    def _ban_changed(self, ban: Ban) -> None:
        peer_id = PeerId(ban.banned)
        if peer_id == self._members.local:
            _log.warning("the admin lifted the ban of this peer" if ban.is_lifted else BANNED_TEXT)
        elif not ban.is_lifted:
            self._transport.expel(peer_id)
        self._events.publish("ban", {"id": peer_id.hex(), "state": "lifted" if ban.is_lifted else "banned"})

    def _refuse_if_banned(self) -> None:
        if self._core.bans.own is not None:
            raise OperationError("banned", BANNED_TEXT, next_step=BANNED_NEXT_STEP)

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
        datagrams, exchange = self._transport.datagrams.counts, self._transport.exchange.counts
        clock, now = self._core.clock, steady_s()
        return {
            "clock_ahead_seconds": (clock.wall_ms(now) - clock.time_ms(now)) / 1000,
            "bans": float(len(self._core.bans.banned)),
            **{f"datagrams_{name}": float(value) for name, value in datagrams.items()},
            **{f"exchange_{name}": float(value) for name, value in exchange.items()},
            **{f"stock_{name}": float(value) for name, value in self._dht.stock_counts.items()},
            **{f"faults_{name}": float(value) for name, value in (self._faults.counts if self._faults else {}).items()},
        }

    # node.ports.NetworkTime

    def now_ms(self) -> int:
        """Return network time in milliseconds since 1970."""
        return self._core.network_time_ms(steady_s())

    # node.service.PeerService

    def health(self) -> Health:
        return Health(alive=True, ready=self._core.is_ready and self._core.bans.own is None)

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
        self._refuse_if_banned()
        return await self._dht.put(key, value, ttl_s=ttl_s, if_version=if_version, timeout_s=timeout_s)

    async def get(self, key: str, *, quorum: bool, timeout_s: float) -> ReadResult:
        self._refuse_if_banned()
        return await self._dht.get(key, quorum=quorum, timeout_s=timeout_s)

    async def delete(self, key: str, *, if_version: str | None, timeout_s: float) -> WriteReceipt:
        self._refuse_if_banned()
        return await self._dht.delete(key, if_version=if_version, timeout_s=timeout_s)

    async def keys(self, prefix: str, *, timeout_s: float) -> KeyListing:
        self._refuse_if_banned()
        return await self._dht.keys(prefix, timeout_s=timeout_s)

    def watch(self, prefix: str, *, exact: bool, since: str | None) -> AsyncGenerator[WatchedChange, None]:
        return self._dht.watch(prefix, exact=exact, since=since)

    def events(self) -> AsyncGenerator[PeerEvent, None]:
        return self._events.listen()


def _member_body(event: MemberChanged) -> dict[str, str | None]:
    member = event.descriptor
    return {"id": member.peer_id.hex(), "name": member.name, "state": event.state, "previous": event.previous}


def _leader_body(leader: Leader) -> dict[str, str | int | None]:
    return {"id": leader.id, "name": leader.name, "term": leader.term}
