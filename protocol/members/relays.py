"""Pings on behalf of others (SWIM 2002, section 3.1), with Lifeguard's nack when the target stays silent."""

from dataclasses import dataclass
from typing import Final

from protocol.config import ProtocolConfig
from protocol.effects import MachineEffect, Tell
from protocol.ids import PeerId
from protocol.members.pings import Pings
from protocol.members.table import Member, MemberTable
from protocol.messages import IndirectAck, PingRequest

RELAYS_MAX = 256
"""Pings made for others at once; further requests go without an answer."""


_NACK_SHARE: Final = 0.6
"""Part of a probe's second stage after which a helper says that the target is silent; the rest is for the way back."""


@dataclass(frozen=True, slots=True)
class Relay:
    """Who asked, under which number of its own, and when it is told that the target is silent."""

    requester: PeerId
    request: PingRequest
    due: float


class Relays:
    """The pings that this peer makes for others, by the number of its own ping, oldest first."""

    def __init__(self, *, config: ProtocolConfig, table: MemberTable, pings: Pings) -> None:
        self._config = config
        self._table = table
        self._pings = pings
        self._relays: dict[int, Relay] = {}

    @property
    def deadline(self) -> float:
        """When the next nack is due; all wait equally long, so the oldest is first."""
        return next(iter(self._relays.values())).due if self._relays else float("inf")

    def asked(self, requester: Member, request: PingRequest, *, now: float) -> list[MachineEffect]:
        """Ping the target of ``request``; one that is not known here is not reached."""
        target = self._table.find(PeerId(request.target))
        if target is None:
            return [_answer(requester.peer_id, request, reached=False)]
        if target.peer_id == self._table.local_id or len(self._relays) >= RELAYS_MAX:
            return []
        # Where nobody answered yet, a small ping: another member named the target, and that one its own address.
        ping = self._pings.ping(target, now=now, carries_news=target.round_trip_s is not None)
        self._relays[self._pings.last_sequence] = Relay(
            requester=requester.peer_id, request=request, due=now + nack_after_s(self._config)
        )
        return [ping]

    def answered(self, sequence: int) -> list[MachineEffect]:
        """Tell whoever asked for ping ``sequence`` that it was answered; nobody may have."""
        relay = self._relays.pop(sequence, None)
        return [] if relay is None else [_answer(relay.requester, relay.request, reached=True)]

    def wake(self, *, now: float) -> list[MachineEffect]:
        """Send the nacks that are due."""
        due = [sequence for sequence, relay in self._relays.items() if relay.due <= now]
        silent = [self._relays.pop(sequence) for sequence in due]
        return [_answer(relay.requester, relay.request, reached=False) for relay in silent]

    def resume(self) -> None:
        """This process did not run: it cannot say that a target was silent."""
        self._relays.clear()

    def check_invariants(self) -> None:
        """Assert that relays are bounded."""
        assert len(self._relays) <= RELAYS_MAX


def nack_after_s(config: ProtocolConfig) -> float:
    """Return how long a helper waits for the target, in seconds: its nack must be back before the probe ends."""
    return min(config.probe_timeout_s, _NACK_SHARE * (config.probe_interval_s - config.probe_timeout_s))


def _answer(requester: PeerId, request: PingRequest, *, reached: bool) -> Tell:
    return Tell(requester, IndirectAck(sequence=request.sequence, target=request.target, reached=reached))
