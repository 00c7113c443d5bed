"""How long a suspect may defend itself, and when that time is over.

Lifeguard 2017, "Dynamic Suspicion": the timeout starts long and falls to the shortest as independent peers
accuse the same member. Departure: a process that did not run cannot have heard a refutation, so after a stall
every suspect gets one full shortest timeout of observed running time.
"""

import math
from dataclasses import dataclass

from protocol.config import ProtocolConfig
from protocol.ids import PeerId


def suspicion_timeout_s(*, members: int, accusers: int, config: ProtocolConfig) -> float:
    """Return how long a suspect has left to refute, in seconds.

    Args:
        members: Living members, the local one included; at least 1.
        accusers: Distinct peers whose accusation stands; at least 1.

    Raises:
        ValueError: A count is out of range.
    """
    if members < 1 or accusers < 1:
        raise ValueError("there is at least one member and one accuser")
    shortest_s = config.suspicion_min_s * math.log10(max(10, members))
    longest_s = shortest_s * config.suspicion_factor_max
    needed = config.suspicion_confirmations
    if accusers >= needed:
        return shortest_s
    return longest_s - (longest_s - shortest_s) * math.log(accusers) / math.log(needed)


@dataclass(slots=True)
class Suspicion:
    """A suspicion that runs."""

    started_at: float
    ends_at: float
    not_before: float
    """The end never falls below this, however many accusers come: time that a stall gave back."""


class Suspicions:
    """The running suspicions, by suspect. Bounded by the table, whose members they are about."""

    def __init__(self, config: ProtocolConfig) -> None:
        self._config = config
        self._running: dict[PeerId, Suspicion] = {}

    @property
    def deadline(self) -> float:
        """When the first one ends; infinite when none runs."""
        return min((suspicion.ends_at for suspicion in self._running.values()), default=math.inf)

    def find(self, peer_id: PeerId) -> Suspicion | None:
        """Return the suspicion against ``peer_id`` that runs, if one does."""
        return self._running.get(peer_id)

    def accused(self, peer_id: PeerId, *, accusers: int, members: int, now: float) -> None:
        """Start a suspicion, or shorten the one that runs: ``accusers`` distinct peers accuse by now."""
        timeout_s = suspicion_timeout_s(members=members, accusers=accusers, config=self._config)
        suspicion = self._running.get(peer_id)
        if suspicion is None:
            self._running[peer_id] = Suspicion(started_at=now, ends_at=now + timeout_s, not_before=now)
            return
        suspicion.ends_at = max(suspicion.not_before, suspicion.started_at + timeout_s)

    def stop(self, peer_id: PeerId) -> None:
        """Forget the suspicion against ``peer_id``: refuted, or decided."""
        self._running.pop(peer_id, None)

    def extend(self, peer_id: PeerId, *, members: int, now: float) -> None:
        """Give one suspect a full shortest timeout from now."""
        self._extend(self._running[peer_id], members=members, now=now)

    def resume(self, *, members: int, now: float) -> None:
        """Give every suspect a full shortest timeout from now: this process did not run."""
        for suspicion in self._running.values():
            self._extend(suspicion, members=members, now=now)

    def ended(self, now: float) -> list[PeerId]:
        """Return the suspects whose time is over, oldest suspicion first; they stay until stopped or extended."""
        return [peer_id for peer_id, suspicion in self._running.items() if suspicion.ends_at <= now]

    def _extend(self, suspicion: Suspicion, *, members: int, now: float) -> None:
        shortest_s = suspicion_timeout_s(
            members=members, accusers=self._config.suspicion_confirmations, config=self._config
        )
        suspicion.not_before = now + shortest_s
        suspicion.ends_at = max(suspicion.ends_at, suspicion.not_before)
