"""A person asks any peer for another leader: the wish travels to the leader, the outcome is awaited here."""

import asyncio
from collections.abc import Callable
from typing import Final

from node.errors import OperationError
from node.ports import PeerUnreachable, Requester
from protocol.core import Core
from protocol.effects import HandoverAsked
from protocol.ids import PeerId
from protocol.messages import Accepted, HandoverWish, Refusal, Reply

_WISH_TIMEOUT_S: Final = 1.0
_OUTCOME_TIMEOUT_S: Final = 5.0
_PREFIX_DIGITS_MIN: Final = 6


class Handovers:
    """Carries wishes for another leader."""

    def __init__(self, *, core: Core, requester: Requester, ask_core: Callable[[HandoverAsked], None]) -> None:
        self._core = core
        self._requester = requester
        self._ask_core = ask_core
        self._waiters: list[asyncio.Future[None]] = []

    def leader_changed(self) -> None:
        """Wake those who wait for an outcome."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def hand_over(self, to: str | None) -> None:
        """Return once another leader (``to``, when given) is followed here.

        Raises:
            OperationError: ``no-leader``, ``not-found``, ``conflict`` (nobody to hand over to, or a suspect), or
                ``outcome-unknown`` when no other leader showed up in time.
        """
        leader = self._core.election.leader
        if leader is None:
            raise OperationError("no-leader", "there is no leader to hand over", next_step="wait and try again")
        successor = self._member_named(to) if to is not None else None
        if successor == leader:
            return
        if len(self._core.membership.electorate.living) < 2:
            raise OperationError("conflict", "this peer is alone: nobody can take over", next_step="start another peer")
        await self._send_wish(leader, successor)
        await self._await_outcome(leader, successor)

    def serve(self, wish: HandoverWish) -> Reply:
        """Answer a wish that another peer passed on; only the leader can take it up."""
        successor = PeerId(wish.successor) if wish.successor is not None else None
        obstacle = self._core.election.handover_obstacle(successor)
        if obstacle:
            return Refusal(reason=obstacle)
        self._ask_core(HandoverAsked(successor))
        return Accepted()

    async def _send_wish(self, leader: PeerId, successor: PeerId | None) -> None:
        wish = HandoverWish(successor=successor)
        if leader == self._core.descriptor.peer_id:
            reply = self.serve(wish)
        else:
            try:
                reply = await self._requester.request(leader, wish, timeout_s=_WISH_TIMEOUT_S)
            except PeerUnreachable as error:
                raise OperationError(
                    "no-leader", f"the leader does not answer: {error}", next_step="wait for the next leader"
                ) from error
        if isinstance(reply, Refusal):
            raise OperationError(
                "conflict", f"the leader refused: {reply.reason}", next_step="pair members shows who is alive"
            )

    async def _await_outcome(self, leader: PeerId, successor: PeerId | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_OUTCOME_TIMEOUT_S):
                while True:
                    now_leading = self._core.election.leader
                    if now_leading is not None and (
                        now_leading == successor if successor is not None else now_leading != leader
                    ):
                        return
                    waiter: asyncio.Future[None] = loop.create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError:
            raise OperationError(
                "outcome-unknown", "no other leader took over in time", next_step="look at pair leader, then try again"
            ) from None

    def _member_named(self, text: str) -> PeerId:
        living = [member for member in self._core.membership.table if member.is_living]
        named = [member for member in living if member.descriptor.name == text]
        if not named and len(text) >= _PREFIX_DIGITS_MIN:
            named = [member for member in living if member.peer_id.hex().startswith(text.lower())]
        if not named:
            raise OperationError("not-found", f"no living member is called {text!r}", next_step="see pair members")
        if len(named) > 1:
            ids = ", ".join(member.peer_id.hex()[:12] for member in named)
            raise OperationError("bad-request", f"{text!r} names several members: {ids}", next_step="give an id")
        return named[0].peer_id
