"""How long a peer usually takes to answer, and so how long to wait before it is asked again (RFC 6298)."""

from dataclasses import dataclass
from typing import Final

_RETRY_MIN_S: Final = 0.1
"""Shortest wait before a datagram is sent again: a holder that syncs to disk under load is not a lost datagram."""

RETRY_MAX_S: Final = 1.5
"""Longest wait before a datagram is sent again: after a cut heals, the next one comes so soon."""

ROUND_TRIP_GUESS_S: Final = 0.02


@dataclass(slots=True)
class RoundTrip:
    """Smoothed round trip and its deviation, in seconds (RFC 6298, section 2)."""

    smoothed_s: float | None = None
    """None before the first sample."""

    deviation_s: float = 0.0
    backed_off_s: float = 0.0
    """The wait that unanswered tries made necessary; 0 after an answer to a first try."""

    @property
    def usual_s(self) -> float:
        """Smoothed round trip plus four deviations; a guess before the first sample."""
        return ROUND_TRIP_GUESS_S if self.smoothed_s is None else self.smoothed_s + 4 * self.deviation_s

    @property
    def wait_s(self) -> float:
        """How long to wait for an answer before asking again."""
        return min(RETRY_MAX_S, max(_RETRY_MIN_S, self.usual_s, self.backed_off_s))

    def add(self, sample_s: float) -> None:
        """Take the time that the answer to a first try took."""
        self.backed_off_s = 0.0
        if self.smoothed_s is None:
            self.smoothed_s, self.deviation_s = sample_s, sample_s / 2
        else:
            self.deviation_s += (abs(self.smoothed_s - sample_s) - self.deviation_s) / 4
            self.smoothed_s += (sample_s - self.smoothed_s) / 8

    def back_off(self, waited_s: float) -> None:
        """Note that a try went unanswered for so long: many that waited together double the wait once."""
        self.backed_off_s = max(self.backed_off_s, min(RETRY_MAX_S, 2 * waited_s))
