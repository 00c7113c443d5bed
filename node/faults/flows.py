"""The ways of a peer, through the fault plane: each is the plain one, held back where a fault says so.

TCP is held back message by message, not byte by byte: what one peer asks and another answers is all that flows there,
and a liveness link carries nothing but its end.
"""

import asyncio
import functools
from collections.abc import Callable
from typing import Any

from node.datagrams import DatagramPort
from node.faults.plane import FaultPlane
from node.links import Connect, connect
from node.peer_client import PeerClient
from node.peer_http import Handler
from node.ports import PeerUnreachable
from node.tls import PeerTls
from protocol.envelope import claimed_sender
from protocol.ids import ANY_RECEIVER, PeerId, ShortId
from protocol.messages import Reply, Request
from protocol.statements import Address, Descriptor


class FaultyDatagramPort(DatagramPort):
    """A datagram port whose datagrams are lost, late or doubled as sealed bytes, like on a bad network."""

    def __init__(
        self, plane: FaultPlane, short_id_at: Callable[[Address], ShortId | None], /, **rest: Any
    ) -> None:
        """Prepare the port.

        Args:
            plane: The faults.
            short_id_at: Returns who is known to be at an address: contacts and stock nodes are met by address only.
            rest: As for ``DatagramPort``.
        """
        super().__init__(**rest)
        self._plane = plane
        self._short_id_at = short_id_at

    def send_stock(self, datagram: bytes, address: tuple[str, int]) -> None:
        """Send the bytes of the stock Kademlia protocol."""
        go_on = functools.partial(super().send_stock, datagram, address)
        self._plane.datagram(self._short_id_at(Address(*address)), "out", go_on)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Take what a fault lets through."""
        peer = claimed_sender(data) or self._short_id_at(Address(addr[0], addr[1]))
        self._plane.datagram(peer, "in", functools.partial(super().datagram_received, data, addr))

    def _transmit(self, datagram: bytes, address: Address, receiver: ShortId) -> None:
        peer = receiver if receiver != ANY_RECEIVER else self._short_id_at(address)
        self._plane.datagram(peer, "out", functools.partial(super()._transmit, datagram, address, receiver))


class FaultyPeerClient(PeerClient):
    """Asks other peers over TCP; what is cut hangs until the cut or the deadline ends."""

    def __init__(self, tls: PeerTls, plane: FaultPlane) -> None:
        super().__init__(tls)
        self._plane = plane

    async def request(self, peer: Descriptor, data: Request, timeout_s: float) -> Reply:
        """Send ``data`` and return the reply; see ``PeerClient.request``."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._plane.passage(peer.peer_id, "out")
                try:
                    reply = await super().request(peer, data, timeout_s)
                except PeerUnreachable:
                    await self._plane.passage(peer.peer_id, "in")  # the word of an end is cut too
                    raise
                await self._plane.passage(peer.peer_id, "in")
                return reply
        except TimeoutError as error:
            raise PeerUnreachable(f"no answer from {peer.address} within {timeout_s:g} s") from error


def faulty_handler(plane: FaultPlane, handle: Handler) -> Handler:
    """Return what answers the requests that the faults let in, when they let the answer out."""

    async def handle_late(sender: PeerId, request: Request) -> Reply:
        await plane.admission(sender, "in")
        reply = await handle(sender, request)
        await plane.admission(sender, "out")
        return reply

    return handle_late


def faulty_connect(plane: FaultPlane) -> Connect:
    """Return what connects once the faults let a handshake through; until then it hangs."""

    async def connect_late(peer: Descriptor, new_protocol: Callable[[], asyncio.Protocol]) -> asyncio.BaseTransport:
        await plane.passage(peer.peer_id, "out")
        await plane.passage(peer.peer_id, "in")
        return await connect(peer, new_protocol)

    return connect_late
