"""Requests and replies between peers: by datagram where both fit one, over TCP otherwise.

A request is sent again when the usual round trip has long passed (RFC 6298), and fails at once when its peer is found
dead. Only an answer to the first try tells a round trip (Karn's rule), so under congestion none might ever come: a
try that went unanswered doubles the wait for all later requests to that peer until one does (RFC 6298, section 5).

Replies are believed only from the peer that was asked. At most ``REQUESTS_IN_FLIGHT_MAX`` requests are out, and at
most ``INBOUND_QUEUE_MAX`` are being served; beyond that an inbound request is dropped, and its sender tries again.
"""

import asyncio
import functools
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec

from node.address_proofs import AMPLIFICATION_MAX, AddressProofs
from node.clock import steady_s
from node.datagrams import DatagramPort
from node.peer_client import PeerClient
from node.ports import Members, PeerUnreachable
from node.round_trips import RETRY_MAX_S, ROUND_TRIP_GUESS_S, RoundTrip
from protocol import codec, limits
from protocol.dht_messages import Fetch
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.ids import PeerId, ShortId, short_id_of
from protocol.messages import Refusal, Reply, ReplyTooLarge, Request
from protocol.statements import Address, Descriptor

Answer: TypeAlias = Reply | Coroutine[Any, Any, Reply]
"""What serves a request: the reply itself where nothing has to be waited for."""

_LATE_S: Final = 0.01
"""A timer that is later than this tells of a busy loop or machine, not of a lost datagram."""

_SERVE_TIMEOUT_S: Final = 30.0
"""Time a request's handler may take, before it is cancelled: whoever asked has given up long before."""

_NO_PLACE: Final = bytes(20)
_PROOF_TIMEOUT_S: Final = 2.0

_log = logging.getLogger("pair.exchange")


@dataclass(slots=True, eq=False)
class _Pending:
    """A request that went out by datagram and has no reply yet."""

    peer_id: PeerId
    request: Request
    data: bytes
    """The request, encoded."""

    future: "asyncio.Future[Reply]"
    round_trip: RoundTrip
    sent_at: float
    """On the steady clock: some loops tell whole milliseconds only."""

    deadline: float
    wait_s: float
    sent_to: Address | None = None
    timer: asyncio.TimerHandle | None = None
    tries: int = 0
    over_tcp: "asyncio.Task[None] | None" = None
    """Fetches a reply that fits no datagram."""

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
        handle: Callable[[PeerId, Request], Answer],
        random: random.Random,
    ) -> None:
        self._members = members
        self._datagrams = datagrams
        self._client = client
        self._handle = handle
        self._random = random
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._pending: dict[int, _Pending] = {}
        self._over_tcp: dict[asyncio.Timeout, PeerId] = {}
        self._serving: dict[tuple[PeerId, int], asyncio.Task[None]] = {}
        self._round_trips: dict[PeerId, RoundTrip] = {}
        self._proofs = AddressProofs()
        self._proving: dict[asyncio.Task[None], None] = {}
        self._stopped = False
        self.counts: dict[str, int] = {"requests": 0, "retries": 0, "timeouts": 0, "served": 0, "dropped": 0, "tcp": 0}

    def request(self, peer_id: PeerId, request: Request, *, timeout_s: float) -> Awaitable[Reply]:
        """Send ``request`` and return what becomes the reply; see ``node.ports.Requester``.

        A datagram has left when this returns. Everything that must wait first waits in a coroutine.
        """
        deadline = asyncio.get_running_loop().time() + timeout_s
        if self._stopped or self._is_full():
            return self._request_later(peer_id, request, deadline)
        return self._begin(peer_id, request, deadline)

    def usual_round_trip_s(self, peer_id: PeerId) -> float:
        """Return the smoothed round trip plus four deviations, in seconds; a guess at first."""
        known = self._round_trips.get(peer_id)
        return ROUND_TRIP_GUESS_S if known is None else known.usual_s

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
        while self._waiting:
            self._wake_next()
        fetching = [pending.over_tcp for pending in self._pending.values() if pending.over_tcp is not None]
        tasks = [*self._serving.values(), *self._proving, *fetching]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # Inbound

    def reply_received(self, sender: ShortId, reply: Reply) -> None:
        """Give a reply to whoever waits for it; anything else is dropped."""
        pending = self._pending.get(reply.request_id)
        if pending is None or pending.future.done() or short_id_of(pending.peer_id) != sender:
            return
        if pending.sent_to is not None:
            self._proofs.prove((pending.sent_to.host, pending.sent_to.port), steady_s())
        if pending.tries == 1:
            pending.round_trip.add(steady_s() - pending.sent_at)
        if not isinstance(reply, ReplyTooLarge):
            pending.future.set_result(reply)
        elif pending.over_tcp is None:
            pending.over_tcp = asyncio.get_running_loop().create_task(self._fetch_over_tcp(pending))

    def request_received(self, sender: Descriptor, request: Request) -> None:
        """Serve a member's request, in a task where that takes time, unless it is being served or too many are."""
        peer_id = sender.peer_id
        entry = (peer_id, request.request_id)
        if entry in self._serving or self._stopped:
            return
        if len(self._serving) >= limits.INBOUND_QUEUE_MAX:
            self.counts["dropped"] += 1
            return
        self.counts["served"] += 1
        try:
            answer = self._handle(peer_id, request)
        except Exception as error:  # as in ``_serve``
            answer = _failed(request, error)
        if isinstance(answer, Reply):
            self._reply(entry, sender, request, answer)
        else:
            task = asyncio.get_running_loop().create_task(self._serve(entry, answer, sender, request))
            self._serving[entry] = task
            task.add_done_callback(functools.partial(self._served, entry, answer))

    async def _serve(
        self, entry: tuple[PeerId, int], answer: Coroutine[Any, Any, Reply], sender: Descriptor, request: Request
    ) -> None:
        overrun = asyncio.get_running_loop().call_later(_SERVE_TIMEOUT_S, self._serving[entry].cancel)
        try:
            reply = await answer
        except Exception as error:  # the top of this task: a handler's defect must not look like a dead peer
            reply = _failed(request, error)
        finally:
            overrun.cancel()
        self._reply(entry, sender, request, reply)

    def _served(
        self, entry: tuple[PeerId, int], answer: Coroutine[Any, Any, Reply], task: "asyncio.Task[None]"
    ) -> None:
        answer.close()  # It may never have begun.
        del self._serving[entry]

    def _reply(self, entry: tuple[PeerId, int], sender: Descriptor, request: Request, reply: Reply) -> None:
        peer_id, request_id = entry
        try:
            data = codec.encode(msgspec.structs.replace(reply, request_id=request_id, receiver_boot=sender.boot))
        except LocalProtocolError:
            data = codec.encode(ReplyTooLarge(request_id=request_id, receiver_boot=sender.boot))
        # To the member's own address, never to the source of the datagram. But a member may name any address as its
        # own, so what is much larger than the question waits until that address has answered one of ours.
        address = (sender.address.host, sender.address.port)
        if self._proofs.is_proven(address, steady_s()) or not _is_amplified(request, data):
            self._datagrams.send_encoded(data, sender.address, short_id_of(peer_id))
            return
        if self._proofs.begin(address):
            task = asyncio.get_running_loop().create_task(self._prove(sender))
            self._proving[task] = None
            task.add_done_callback(self._proving.pop)
        self._proofs.hold(address, data)

    async def _prove(self, member: Descriptor) -> None:
        """Ask something small of a member at its address; send it what waited if the answer comes."""
        address = (member.address.host, member.address.port)
        try:
            await self.request(member.peer_id, Fetch(place=_NO_PLACE), timeout_s=_PROOF_TIMEOUT_S)
        except PeerUnreachable:
            pass
        finally:
            waiting = self._proofs.end(address)
        if self._proofs.is_proven(address, steady_s()):
            for data in waiting:
                self._datagrams.send_encoded(data, member.address, short_id_of(member.peer_id))

    # Outbound

    def _is_full(self) -> bool:
        return len(self._pending) + len(self._over_tcp) >= limits.REQUESTS_IN_FLIGHT_MAX

    def _wake_next(self) -> None:
        """Let the next request that waits for a place look whether there is one."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    async def _request_later(self, peer_id: PeerId, request: Request, deadline: float) -> Reply:
        """Wait for one of the places of requests that are out."""
        while self._is_full() and not self._stopped:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                async with asyncio.timeout_at(deadline):
                    await turn
            except TimeoutError as error:
                self._wake_next()  # it may have been our turn just now
                raise PeerUnreachable("too many requests are out") from error
            except asyncio.CancelledError:
                self._wake_next()
                raise
        if self._stopped:
            raise PeerUnreachable("this peer stops")
        return await self._begin(peer_id, request, deadline)

    def _begin(self, peer_id: PeerId, request: Request, deadline: float) -> Awaitable[Reply]:
        peer = self._members.find(peer_id)
        if peer is None:
            raise PeerUnreachable("not a member")
        self.counts["requests"] += 1
        number = self._random.getrandbits(63)
        request = msgspec.structs.replace(request, request_id=number, receiver_boot=peer.boot)
        try:
            data = codec.encode(request)
        except LocalProtocolError:
            return self._request_over_tcp(peer_id, request, deadline)
        round_trip = self._round_trips.get(peer_id)
        if round_trip is None:
            round_trip = RoundTrip()
            if len(self._round_trips) < limits.MEMBERS_MAX:
                self._round_trips[peer_id] = round_trip
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        pending = _Pending(peer_id, request, data, future, round_trip, steady_s(), deadline, round_trip.wait_s)
        self._pending[number] = pending
        future.add_done_callback(functools.partial(self._ended, number))
        self._send(pending)
        return future

    def _ended(self, number: int, future: "asyncio.Future[Reply]") -> None:
        """Forget a request that was answered, failed, or given up by who asked."""
        pending = self._pending.pop(number)
        if pending.timer is not None:
            pending.timer.cancel()
        if pending.over_tcp is not None:
            pending.over_tcp.cancel()
        if self._waiting:
            self._wake_next()

    def _send(self, pending: _Pending) -> None:
        """Send once more and arm the timer for the time after; fail at the deadline."""
        if pending.future.done() or pending.over_tcp is not None:
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
        if pending.tries:
            self.counts["retries"] += 1
            pending.round_trip.back_off(pending.wait_s)
            pending.wait_s = min(RETRY_MAX_S, 2 * pending.wait_s)
        pending.tries += 1
        pending.sent_to = peer.address
        self._datagrams.send_encoded(pending.data, peer.address, short_id_of(pending.peer_id))
        self._send_again_at(now + pending.wait_s, pending)

    def _send_again_at(self, due: float, pending: _Pending) -> None:
        due = min(due, pending.deadline)
        pending.timer = asyncio.get_running_loop().call_at(due, self._send_again, pending, due)

    def _send_again(self, pending: _Pending, due: float) -> None:
        """Send again when that is due, unless this loop was too busy to read: the reply may wait in the socket."""
        now = asyncio.get_running_loop().time()
        if now - due > _LATE_S and now < pending.deadline:
            self._send_again_at(2 * now - due, pending)
        else:
            self._send(pending)

    async def _fetch_over_tcp(self, pending: _Pending) -> None:
        """Ask again over TCP for a reply that fits no datagram."""
        try:
            reply = await self._request_over_tcp(pending.peer_id, pending.request, pending.deadline)
        except PeerUnreachable as error:
            pending.fail(str(error))
        else:
            if not pending.future.done():
                pending.future.set_result(reply)

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


def _is_amplified(request: Request, data: bytes) -> bool:
    """Return whether a reply is so much larger than its request that it would serve to flood somebody."""
    asked = codec.encoded_size(request) + limits.ENVELOPE_OVERHEAD_BYTES
    return len(data) + limits.ENVELOPE_OVERHEAD_BYTES > AMPLIFICATION_MAX * asked


def _failed(request: Request, error: Exception) -> Refusal:
    """Log a defect of a handler; return what its request is answered with."""
    _log.error("serving %s failed: %r", type(request).__name__, error, exc_info=error)
    return Refusal(reason="internal failure")


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
