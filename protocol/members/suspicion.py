"""How long a suspect may defend itself, and when that time is over.

Lifeguard 2017, "Dynamic Suspicion": the timeout starts long and falls to the shortest as independent peers
accuse the same member. Departures: a process that did not run cannot have heard a refutation, so after a stall
every suspect gets one full shortest timeout of observed running time; and before the verdict a suspect is pinged
once more, with the accusations, and has one probe timeout for a last word.
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
    """The end never falls below this, however many accusers come: time that a stall or a last word gave back."""

    had_last_word: bool = False


class Suspicions:
    """The running suspicions, by suspect. Bounded by the table, whose members they are about."""

    def __init__(self, config: ProtocolConfig) -> None:
        self._config = config
        self._running: dict[PeerId, Suspicion] = {}
        self._deadline = math.inf
        self._is_deadline_stale = False

    @property
    def deadline(self) -> float:
        """When the first one ends; infinite when none runs."""
        if self._is_deadline_stale:
            self._deadline = min((suspicion.ends_at for suspicion in self._running.values()), default=math.inf)
            self._is_deadline_stale = False
        return self._deadline

    def find(self, peer_id: PeerId) -> Suspicion | None:
        """Return the suspicion against ``peer_id`` that runs, if one does."""
        return self._running.get(peer_id)

    def accused(self, peer_id: PeerId, *, accusers: int, members: int, now: float) -> None:
        """Start a suspicion, or shorten the one that runs: ``accusers`` distinct peers accuse by now."""
        timeout_s = suspicion_timeout_s(members=members, accusers=accusers, config=self._config)
        suspicion = self._running.get(peer_id)
        self._is_deadline_stale = True
        if suspicion is None:
            self._running[peer_id] = Suspicion(started_at=now, ends_at=now + timeout_s, not_before=now)
            return
        suspicion.ends_at = max(suspicion.not_before, min(suspicion.ends_at, suspicion.started_at + timeout_s))

    def stop(self, peer_id: PeerId) -> None:
        """Forget the suspicion against ``peer_id``: refuted, or decided."""
        if self._running.pop(peer_id, None) is not None:
            self._is_deadline_stale = True

    def resume(self, *, members: int, now: float) -> None:
        """Give every suspect a full shortest timeout from now: this process did not run."""
        shortest_s = suspicion_timeout_s(
            members=members, accusers=self._config.suspicion_confirmations, config=self._config
        )
        for suspicion in self._running.values():
            self._extend(suspicion, until=now + shortest_s)
            suspicion.had_last_word = False

    def ended(self, *, now: float) -> list[PeerId]:
        """Return the suspects whose time is over, oldest suspicion first; they stay until stopped or heard."""
        if now < self.deadline:
            return []
        return [peer_id for peer_id, suspicion in self._running.items() if suspicion.ends_at <= now]

    def grant_last_word(self, peer_id: PeerId, *, for_s: float, now: float) -> bool:
        """Let a suspect whose time is over be asked once more; return whether it was not asked before."""
        suspicion = self._running[peer_id]
        if suspicion.had_last_word:
            return False
        suspicion.had_last_word = True
        self._extend(suspicion, until=now + for_s)
        return True

    def _extend(self, suspicion: Suspicion, *, until: float) -> None:
        suspicion.not_before = until
        suspicion.ends_at = max(suspicion.ends_at, until)
        self._is_deadline_stale = True
