"""Planted bugs of membership, of datagrams and of boots."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from protocol import limits
from protocol.statements import Accusation, Address, Evidence
from simulations.mutations.mutation import Mutation, Plant
from simulations.mutations.scenes import islands, lies, silence, swizzle


def _no_refutation(original: Callable[..., bool]) -> Callable[..., bool]:
    def defend(self: Any, evidence: Evidence, now: float, effects: list[Any]) -> bool:
        return False if isinstance(evidence, Accusation) else original(self, evidence, now, effects)

    return defend


def _endless(original: Callable[..., None]) -> Callable[..., None]:
    def accused(self: Any, peer_id: bytes, **named: Any) -> None:
        original(self, peer_id, **named)
        self.find(peer_id).ends_at = math.inf

    return accused


def _newest_twice(_: Any) -> Callable[..., bool]:
    def is_new(self: Any, counter: int) -> bool:
        behind = self._highest - counter
        return behind <= 0 or (behind < limits.REPLAY_WINDOW_SIZE and not (self._seen >> behind) & 1)

    return is_new


class _NoneIsLater(OrderedDict[bytes, int]):
    """Latest boots that hold nobody back: who asks with a default, to compare, gets the default."""

    def get(self, key: bytes, default: Any = None) -> Any:
        return super().get(key) if default is None else default


def _any_boot(original: Callable[..., Any]) -> Callable[..., Any]:
    def open_(self: Any, datagram: bytes) -> Any:
        if not isinstance(self._latest_boots, _NoneIsLater):
            self._latest_boots = _NoneIsLater(self._latest_boots)
        return original(self, datagram)

    return open_


def _same_boot(original: Callable[..., int]) -> Callable[..., int]:
    def next_boot(last: int | None, *, wall_s: int, noise: bytes) -> int:
        return original(None, wall_s=wall_s, noise=noise) if last is None else last

    return next_boot


def _no_return(_: Any) -> Callable[..., list[Any]]:
    def wake(self: Any, *, now: float) -> list[Any]:
        self._failed_due = self._remembered_due = math.inf
        return []

    return wake


def _no_second_asking(original: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    def wake(self: Any, *, own: Any, members: frozenset[Address], now: float) -> list[Any]:
        has_met = len(members) > 1
        return original(self, own=own, members=frozenset(self._contacts) if has_met else members, now=now)

    return wake


MUTATIONS: Final = (
    Mutation(
        name="missed refutation",
        summary="a peer does not answer an accusation against itself",
        plants=(Plant("protocol.members.membership:Membership._defend", _no_refutation),),
        scenario=swizzle,
    ),
    Mutation(
        name="suspicion that never ends",
        summary="a suspect is given all the time there is",
        plants=(Plant("protocol.members.suspicion:Suspicions.accused", _endless),),
        scenario=silence,
    ),
    Mutation(
        name="statements not verified",
        summary="evidence about members is believed unsigned",
        plants=(Plant("protocol.members.local:LocalPeer.is_authentic", lambda _: lambda self, statement: True),),
        scenario=lies,
    ),
    Mutation(
        name="the dead are not asked",
        summary="whoever failed is never asked again, as a member or as a seed, so islands stay apart",
        plants=(
            Plant("protocol.members.absent:Absent.wake", _no_return),
            Plant("protocol.joining:Joining.wake", _no_second_asking),
        ),
        scenario=islands,
    ),
    Mutation(
        name="replay window off by one",
        summary="the newest datagram is opened twice",
        plants=(Plant("protocol.envelope:ReplayWindow.is_new", _newest_twice),),
        scenario=lies,
    ),
    Mutation(
        name="boot check missing",
        summary="datagrams of an earlier boot of their sender are opened",
        plants=(Plant("protocol.envelope:Opener.open", _any_boot),),
        scenario=lies,
    ),
    Mutation(
        name="boot not raised",
        summary="a peer that starts again takes the boot of its last run",
        plants=(Plant("simulations.disk:next_boot", _same_boot),),
        scenario=swizzle,
    ),
)
