"""How a peer talks: datagrams, liveness links and the peer port, and who in the peer gets what comes in.

    datagrams ─┬─ control messages ─→ driver ─→ core
               └─ requests, replies ─→ exchange ─→ whoever serves them
    peer port (TLS) ─→ the same

A request is served only for a member in its current boot, and one that changes state only when it was meant for this
boot; the core answers all others (introduce yourself; my boot is another).
"""

import functools
import random
from collections.abc import Callable
from contextlib import AsyncExitStack

from node.config import PeerConfig
from node.datagrams import DatagramPort
from node.descriptors import caps_within
from node.exchange import Answer, Exchange
from node.faults.flows import FaultyDatagramPort, FaultyPeerClient, faulty_connect, faulty_handler
from node.faults.plane import FaultPlane
from node.guest import Door
from node.links import Links, connect
from node.membership_view import MembershipView
from node.peer_client import PeerClient
from node.peer_http import Handler
from node.peer_port import PeerPort
from node.tls import PeerTls
from protocol.core import Core
from protocol.effects import ConnectionRefused, Input, LinkLost, Received
from protocol.identity import Identity
from protocol.ids import PeerId, ShortId, short_id_of
from protocol.messages import Refusal, Reply, Request
from protocol.statements import Address


class Transport:
    """Owns the sockets of the peer port, and the requests under way."""

    def __init__(
        self,
        *,
        config: PeerConfig,
        identity: Identity,
        core: Core,
        members: MembershipView,
        random: random.Random,
        tell_core: Callable[[Input], None],
        serve: Callable[[PeerId, Request], Answer],
        on_stock_datagram: Callable[[bytes, tuple[str, int]], None],
        door: Door,
        faults: FaultPlane | None = None,
    ) -> None:
        """Open nothing yet.

        Args:
            tell_core: Takes what happened; the core decides.
            serve: Answers the request of a member.
            on_stock_datagram: Takes datagrams of stock Kademlia nodes; called in open networks only.
            door: Receives who comes with an invite.
            faults: What everything goes through in a peer that was started with ``--faults``.
        """
        self._config = config
        self._core = core
        self._members = members
        self._tell_core = tell_core
        self._serve = serve
        self._parts = AsyncExitStack()
        self._faults = faults
        new_port = DatagramPort if faults is None else functools.partial(FaultyDatagramPort, faults, self._short_id_at)
        self.datagrams = new_port(
            network=config.network,
            peer_id=identity.peer_id,
            boot=core.descriptor.boot,
            on_message=self._message_received,
            on_stock_datagram=on_stock_datagram if config.network.open else None,
        )
        self.links = Links(
            hello_bytes=lambda peer: self.datagrams.seal_hello(short_id_of(peer.peer_id)),
            on_lost=self._link_lost,
            on_refused=lambda peer_id, boot: tell_core(ConnectionRefused(peer_id, boot)),
            connect=connect if faults is None else faulty_connect(faults),
        )
        tls = PeerTls(identity=identity, network=config.network, folder=config.folder)
        self._client = PeerClient(tls) if faults is None else FaultyPeerClient(tls, faults)
        self._port = PeerPort(
            tls=tls,
            bind=config.bind,
            port=config.port,
            handle=self._request_handler(faults),
            check_hello=self._check_hello,
            count_members=lambda: len(members.living_ids),
            door=door,
            is_banned=core.bans.is_banned,
            limits=caps_within(config.descriptors_max).peer_port,
        )
        self.exchange = Exchange(
            members=members, datagrams=self.datagrams, client=self._client, handle=serve, random=random
        )

    def _request_handler(self, faults: FaultPlane | None) -> Handler:
        return self._tcp_request_received if faults is None else faulty_handler(faults, self._tcp_request_received)

    async def start(self) -> None:
        """Bind the peer port, UDP and TCP.

        Raises:
            ConfigError: It cannot be had; ``stop`` still has to be called.
        """
        await self.datagrams.open(self._config.bind, self._config.port)
        self._parts.callback(self.datagrams.close)
        await self._port.start()
        self._parts.push_async_callback(self._port.stop)
        self._parts.push_async_callback(self._client.close)
        self._parts.push_async_callback(self.links.close)
        if self._faults is not None:
            self._parts.push_async_callback(self._faults.close)

    async def stop(self) -> None:
        """Close everything. Idempotent."""
        await self._parts.aclose()

    def expel(self, peer_id: PeerId) -> None:
        """End all connections of a peer that was banned."""
        self._port.expel(peer_id)

    def _link_lost(self, peer_id: PeerId) -> None:
        if self._faults is None:
            self._tell_core(LinkLost(peer_id))
        else:
            self._faults.tell(peer_id, lambda: self._tell_core(LinkLost(peer_id)))

    def _short_id_at(self, address: Address) -> ShortId | None:
        """Return which member is known to be at ``address``; only faults on purpose ask."""
        at_address = (m.peer_id for m in self._core.membership.table if m.descriptor.address == address)
        found = next(at_address, None)
        return short_id_of(found) if found is not None else None

    def _message_received(self, received: Received) -> None:
        message = received.message
        if isinstance(message, (Request, Reply)) and not self._core.bans.refuses(received.sender):
            if isinstance(message, Reply):
                self.exchange.reply_received(received.sender, message)
                return
            member = self._core.membership.table.by_short_id(received.sender)
            if (
                member is not None
                and member.descriptor.boot == received.sender_boot
                and self._is_for_this_boot(message)
            ):
                self.exchange.request_received(member.descriptor, message)
                return
        self._tell_core(received)

    async def _tcp_request_received(self, sender: PeerId, request: Request) -> Reply:
        if self._members.find(sender) is None or self._core.bans.is_banned(sender):
            return Refusal(reason="not a member here")
        if not self._is_for_this_boot(request):
            return Refusal(reason="meant for another boot")
        answer = self._serve(sender, request)
        return answer if isinstance(answer, Reply) else await answer

    def _is_for_this_boot(self, request: Request) -> bool:
        return not request.changes_state or request.receiver_boot == self._core.descriptor.boot

    def _check_hello(self, sealed: bytes) -> PeerId | None:
        sender = self.datagrams.open_hello(sealed)
        member = self._core.membership.table.by_short_id(sender) if sender is not None else None
        return member.peer_id if member is not None else None
