"""Requests and replies between peers: by datagram where both fit one, over TCP otherwise.

A request is sent again when the usual round trip has long passed (RFC 6298; Karn's rule for samples), and fails
at once when its peer is found dead. Replies are believed only from the peer that was asked. At most
``REQUESTS_IN_FLIGHT_MAX`` requests are out, and at most ``INBOUND_QUEUE_MAX`` are being served; beyond that an
inbound request is dropped, and its sender tries again.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import msgspec

from node.datagrams import DatagramPort
from node.peer_client import PeerClient
from node.ports import Members, PeerUnreachable
from protocol import codec, limits
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.ids import PeerId, ShortId, short_id_of
from protocol.messages import Refusal, Reply, ReplyTooLarge, Request
from protocol.statements import Descriptor

_RETRY_MIN_S: Final = 0.1
"""Shortest wait before a datagram is sent again: a holder that syncs to disk under load is not a lost datagram."""

_ROUND_TRIP_GUESS_S: Final = 0.02

_SERVE_TIMEOUT_S: Final = 30.0
"""Time a request's handler may take, before it is cancelled: whoever asked has given up long before."""

_log = logging.getLogger("pair.exchange")


@dataclass(slots=True)
class _RoundTrip:
    """Smoothed round trip and its deviation, in seconds (RFC 6298, section 2)."""

    smoothed_s: float
    deviation_s: float

    def add(self, sample_s: float) -> None:
        self.deviation_s += (abs(self.smoothed_s - sample_s) - self.deviation_s) / 4
        self.smoothed_s += (sample_s - self.smoothed_s) / 8


@dataclass(slots=True, eq=False)
class _Pending:
    """A request that went out by datagram and has no reply yet."""

    peer_id: PeerId
    request: Request
    data: bytes
    """The request, encoded."""

    future: "asyncio.Future[Reply]"
    sent_at: float
    deadline: float
    wait_s: float
    timer: asyncio.TimerHandle | None = None
    tries: int = 0

    def fail(self, reason: str) -> None:
        if not self.future.done():
            self.future.set_exception(PeerUnreachable(reason))


class Exchange:
    """Asks other peers, and answers them through ``handle``. Implements ``node.ports.Requester``.

    Owns the task of each request that is being served; the same request is never served twice at once.
    """

    def __init__(
        self,
        *,
        members: Members,
        datagrams: DatagramPort,
        client: PeerClient,
        handle: Callable[[PeerId, Request], Awaitable[Reply]],
        random: random.Random,
    ) -> None:
        self._members = members
        self._datagrams = datagrams
        self._client = client
        self._handle = handle
        self._random = random
        self._slots = asyncio.Semaphore(limits.REQUESTS_IN_FLIGHT_MAX)
        self._pending: dict[int, _Pending] = {}
        self._over_tcp: dict[asyncio.Timeout, PeerId] = {}
        self._serving: dict[tuple[PeerId, int], asyncio.Task[None]] = {}
        self._round_trips: dict[PeerId, _RoundTrip] = {}
        self._stopped = False
        self.counts: dict[str, int] = {"requests": 0, "retries": 0, "timeouts": 0, "served": 0, "dropped": 0, "tcp": 0}

    async def request(self, peer_id: PeerId, request: Request, *, timeout_s: float) -> Reply:
        """Send ``request`` and return the reply; see ``node.ports.Requester``."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        await self._take_slot(deadline)
        try:
            self.counts["requests"] += 1
            request = self._addressed(peer_id, request)
            try:
                data = codec.encode(request)
            except LocalProtocolError:
                return await self._request_over_tcp(peer_id, request, deadline)
            reply = await self._request_by_datagram(peer_id, request, data, deadline)
            if isinstance(reply, ReplyTooLarge):
                return await self._request_over_tcp(peer_id, request, deadline)
            return reply
        finally:
            self._slots.release()

    def usual_round_trip_s(self, peer_id: PeerId) -> float:
        """Return the smoothed round trip plus four deviations, in seconds; a guess at first."""
        known = self._round_trips.get(peer_id)
        return _ROUND_TRIP_GUESS_S if known is None else known.smoothed_s + 4 * known.deviation_s

    def member_down(self, peer_id: PeerId) -> None:
        """Fail everything asked of a dead member now instead of when its time runs out."""
        self._round_trips.pop(peer_id, None)
        for pending in list(self._pending.values()):
            if pending.peer_id == peer_id:
                pending.fail("the peer failed or left")
        for scope, asked in list(self._over_tcp.items()):
            if asked == peer_id:
                _end_now(scope)

    async def stop(self) -> None:
        """Fail what is asked and end what is being served; nothing begins any more. Idempotent."""
        self._stopped = True
        for pending in list(self._pending.values()):
            pending.fail("this peer stops")
        for scope in list(self._over_tcp):
            _end_now(scope)
        tasks = list(self._serving.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Inbound

    def reply_received(self, sender: ShortId, reply: Reply) -> None:
        """Give a reply to whoever waits for it; anything else is dropped."""
        pending = self._pending.get(reply.request_id)
        if pending is None or pending.future.done() or short_id_of(pending.peer_id) != sender:
            return
        if pending.tries == 1:
            self._sample(pending.peer_id, asyncio.get_running_loop().time() - pending.sent_at)
        pending.future.set_result(reply)

    def request_received(self, sender: Descriptor, request: Request) -> None:
        """Serve a member's request in a task of its own, unless the same one is being served or too many are."""
        entry = (sender.peer_id, request.request_id)
        if entry in self._serving or self._stopped:
            return
        if len(self._serving) >= limits.INBOUND_QUEUE_MAX:
            self.counts["dropped"] += 1
            return
        self.counts["served"] += 1
        self._serving[entry] = asyncio.get_running_loop().create_task(self._serve(entry, sender, request))

    async def _serve(self, entry: tuple[PeerId, int], sender: Descriptor, request: Request) -> None:
        peer_id, request_id = entry
        overrun = asyncio.get_running_loop().call_later(_SERVE_TIMEOUT_S, self._serving[entry].cancel)
        try:
            reply = await self._handle(peer_id, request)
        except Exception as error:  # the top of this task: a handler's defect must not look like a dead peer
            _log.error("serving %s failed: %r", type(request).__name__, error, exc_info=error)
            reply = Refusal(reason="internal failure")
        finally:
            overrun.cancel()
            del self._serving[entry]
        try:
            data = codec.encode(msgspec.structs.replace(reply, request_id=request_id, receiver_boot=sender.boot))
        except LocalProtocolError:
            data = codec.encode(ReplyTooLarge(request_id=request_id, receiver_boot=sender.boot))
        # To the member's own address, never to the source of the datagram: nobody can be flooded with replies.
        self._datagrams.send_encoded(data, sender.address, short_id_of(peer_id))

    # Outbound

    async def _take_slot(self, deadline: float) -> None:
        """Wait for one of the places of requests that are out."""
        if self._stopped:
            raise PeerUnreachable("this peer stops")
        if not self._slots.locked():
            await self._slots.acquire()  # returns at once
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self._slots.acquire()
        except TimeoutError as error:
            raise PeerUnreachable("too many requests are out") from error

    def _addressed(self, peer_id: PeerId, request: Request) -> Request:
        peer = self._members.find(peer_id)
        if peer is None:
            raise PeerUnreachable("not a member")
        return msgspec.structs.replace(request, request_id=self._random.getrandbits(63), receiver_boot=peer.boot)

    async def _request_by_datagram(self, peer_id: PeerId, request: Request, data: bytes, deadline: float) -> Reply:
        loop = asyncio.get_running_loop()
        wait_s = max(_RETRY_MIN_S, self.usual_round_trip_s(peer_id))
        pending = _Pending(peer_id, request, data, loop.create_future(), loop.time(), deadline, wait_s)
        self._pending[request.request_id] = pending
        try:
            self._send(pending)
            return await pending.future
        finally:
            del self._pending[request.request_id]
            if pending.timer is not None:
                pending.timer.cancel()

    def _send(self, pending: _Pending) -> None:
        """Send once more and arm the timer for the time after; fail at the deadline."""
        if pending.future.done():
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        peer = self._members.find(pending.peer_id)
        if now >= pending.deadline or peer is None:
            self.counts["timeouts"] += 1
            pending.fail("no answer in time")
            return
        if peer.boot != pending.request.receiver_boot and not _readdress(pending, peer.boot):
            return
        pending.tries += 1
        if pending.tries > 1:
            self.counts["retries"] += 1
        self._datagrams.send_encoded(pending.data, peer.address, short_id_of(pending.peer_id))
        pending.timer = loop.call_at(min(pending.deadline, now + pending.wait_s), self._send, pending)
        pending.wait_s *= 2

    async def _request_over_tcp(self, peer_id: PeerId, request: Request, deadline: float) -> Reply:
        self.counts["tcp"] += 1
        peer = self._members.find(peer_id)
        left_s = deadline - asyncio.get_running_loop().time()
        if peer is None or left_s <= 0:
            raise PeerUnreachable("no answer in time")
        request = msgspec.structs.replace(request, receiver_boot=peer.boot)
        try:
            async with asyncio.timeout(left_s) as scope:
                self._over_tcp[scope] = peer_id
                try:
                    return await self._client.request(peer, request, left_s)
                finally:
                    del self._over_tcp[scope]
        except TimeoutError as error:
            raise PeerUnreachable("the peer failed or left, or this one stops") from error
        except RemoteProtocolError as error:
            raise PeerUnreachable(f"the peer answered nonsense: {error}") from error

    def _sample(self, peer_id: PeerId, sample_s: float) -> None:
        known = self._round_trips.get(peer_id)
        if known is not None:
            known.add(sample_s)
        elif len(self._round_trips) < limits.MEMBERS_MAX:
            self._round_trips[peer_id] = _RoundTrip(sample_s, sample_s / 2)


def _readdress(pending: _Pending, boot: int) -> bool:
    """Address a request to the later boot of its peer, which would ignore it otherwise; return whether it fits."""
    pending.request = msgspec.structs.replace(pending.request, receiver_boot=boot)
    try:
        pending.data = codec.encode(pending.request)
    except LocalProtocolError:  # the new number is longer than the old one
        pending.fail("the peer restarted")
        return False
    return True


def _end_now(scope: asyncio.Timeout) -> None:
    if not scope.expired():
        scope.reschedule(0.0)
