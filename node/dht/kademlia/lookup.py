"""An iterative lookup as a pure machine with a sliding window (Kademlia 2002, section 2.3).

After rust-libp2p's query of the closest peers: there are no rounds. As soon as one of the ``alpha`` places is free,
the nearest contact that nobody asked is asked. A contact that is slow gives its place away but may still answer; one
that failed, or is still slow at the end, is not part of the result.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from node.dht.kademlia.contacts import Contact
from protocol.ids import Digest

ALPHA: Final = 3
"""Contacts asked at once (Kademlia 2002, section 2.3)."""

ASKED_MAX: Final = 128
"""Contacts asked in one lookup; an honest lookup among 10,000 nodes asks some 60 (of k = 20)."""

FOUND_MAX: Final = 32
"""Contacts believed from one answer."""

ContactT = TypeVar("ContactT", bound=Contact)


@dataclass(slots=True)
class _Candidate(Generic[ContactT]):
    contact: ContactT
    state: Literal["unasked", "asked", "slow", "answered", "failed"] = "unasked"


class Lookup(Generic[ContactT]):
    """Finds the ``count`` nearest contacts that answer.

    1. Each contact is asked at most once, and at most ``ASKED_MAX`` are, so every lookup ends.
    2. At most ``alpha`` contacts that are not slow are asked at any moment.
    3. Only contacts that answered are in the result.
    """

    def __init__(self, target: Digest, seeds: Sequence[ContactT], *, count: int, alpha: int = ALPHA) -> None:
        self._target = int.from_bytes(target, "big")
        self._count = count
        self._alpha = alpha
        self._asked = 0
        self._distances: list[int] = []
        self._candidates: dict[int, _Candidate[ContactT]] = {}
        """By distance, which tells as much as the id."""

        self._add(seeds)

    @property
    def is_finished(self) -> bool:
        """Whether asking on would change nothing: the nearest answered, or nobody is left to ask or to wait for."""
        if self._next_unasked() is not None:
            return False
        states = [candidate.state for candidate in self._candidates.values()]
        if any(candidate.state == "asked" for candidate in self._horizon()):
            return False
        return "answered" in states or not any(state in ("asked", "slow") for state in states)

    def next_to_ask(self) -> ContactT | None:
        """Return whom to ask now, who counts as asked from here on, or None if it is not the time."""
        in_flight = sum(candidate.state == "asked" for candidate in self._candidates.values())
        candidate = self._next_unasked()
        if candidate is None or in_flight >= self._alpha:
            return None
        candidate.state = "asked"
        self._asked += 1
        return candidate.contact

    def answered(self, contact: ContactT, found: Sequence[ContactT]) -> None:
        """Take an answer, be it late, and the contacts in it."""
        self._candidate(contact).state = "answered"
        self._add(found[:FOUND_MAX])

    def slow(self, contact: ContactT) -> None:
        """Stop waiting for ``contact``; it may still answer."""
        candidate = self._candidate(contact)
        if candidate.state == "asked":
            candidate.state = "slow"

    def failed(self, contact: ContactT) -> None:
        """Give ``contact`` up, whoever else may still name it."""
        self._candidate(contact).state = "failed"

    def result(self) -> list[ContactT]:
        """Return the contacts that answered, nearest first, at most ``count``."""
        candidates = (self._candidates[distance] for distance in self._distances)
        return [candidate.contact for candidate in candidates if candidate.state == "answered"][: self._count]

    def _candidate(self, contact: ContactT) -> _Candidate[ContactT]:
        return self._candidates[contact.long_id ^ self._target]

    def _add(self, contacts: Sequence[ContactT]) -> None:
        for contact in contacts:
            distance = contact.long_id ^ self._target
            if distance not in self._candidates:
                self._candidates[distance] = _Candidate(contact)
                insort(self._distances, distance)

    def _horizon(self) -> list[_Candidate[ContactT]]:
        """Return the ``count`` nearest candidates that are not given up."""
        horizon: list[_Candidate[ContactT]] = []
        for distance in self._distances:
            candidate = self._candidates[distance]
            if candidate.state not in ("slow", "failed"):
                horizon.append(candidate)
                if len(horizon) == self._count:
                    break
        return horizon

    def _next_unasked(self) -> _Candidate[ContactT] | None:
        if self._asked >= ASKED_MAX:
            return None
        return next((candidate for candidate in self._horizon() if candidate.state == "unasked"), None)
