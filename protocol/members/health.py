"""Lifeguard's local health multiplier: a peer that misses much suspects itself first.

Lifeguard 2017, section "Local Health Aware Probe": the score rises with nacks that were lost and own refutations, here
also with wake-ups that came late, and falls with each good probe. Departure: silence alone, even of all others, is no
illness of this peer (``protocol.members.probes``).
"""


class LocalHealth:
    """A score from 0 (healthy) to ``score_max``; probe times are multiplied by ``factor``."""

    def __init__(self, *, score_max: int) -> None:
        self._score_max = score_max
        self._score = 0

    @property
    def score(self) -> int:
        """How unwell this peer believes itself to be; 0 is healthy."""
        return self._score

    @property
    def factor(self) -> int:
        """What probe intervals and timeouts are multiplied by; at least 1."""
        return 1 + self._score

    def worsen(self, steps: int = 1) -> None:
        """Count something that an unwell peer would see; ``steps`` may be 0."""
        self._score = min(self._score_max, self._score + steps)

    def improve(self) -> None:
        """Count a probe that was answered."""
        self._score = max(0, self._score - 1)
