"""What time it is on one host: an affine map between true (simulated) time and the host's own clocks."""

from typing import Final

EPOCH_S: float = 1_700_000_000.0
"""Wall-clock time of the world's beginning, in seconds since 1970."""

_ROUNDING_S: Final = 1e-9
"""More than rounding makes of any time of a run, at any rate."""


class HostClock:
    """A steady clock with a rate, and a wall clock that somebody may set.

    The steady clock of a host never jumps: when its rate changes, it goes on from where it was.
    """

    __slots__ = ("_local_then", "_rate", "_true_then", "wall_offset_s")

    def __init__(self, *, rate: float = 1.0, wall_offset_s: float = 0.0) -> None:
        self._rate = rate
        self._true_then = 0.0
        self._local_then = 0.0
        self.wall_offset_s = wall_offset_s
        """How far the wall clock is ahead of true time (at rate 1), in seconds."""

    @property
    def rate(self) -> float:
        """Local seconds that pass in one true second."""
        return self._rate

    def local(self, true_s: float) -> float:
        """Return the steady clock at a true time, in seconds."""
        return self._local_then + (true_s - self._true_then) * self._rate

    def true(self, local_s: float) -> float:
        """Return the true time at which the steady clock shows ``local_s``."""
        return self._true_then + (local_s - self._local_then) / self._rate

    def reaches(self, local_s: float) -> float:
        """Return the first true time at which the steady clock shows ``local_s`` or more, rounding included.

        A timer that fires a rounding error too early would be set again for the same moment, for ever.
        """
        true_s = self.true(local_s)
        return true_s if self.local(true_s) >= local_s else true_s + _ROUNDING_S

    def wall(self, true_s: float) -> float:
        """Return the wall clock at a true time, in seconds since 1970."""
        return EPOCH_S + self.wall_offset_s + self.local(true_s)

    def set_rate(self, rate: float, *, now: float) -> None:
        """Let the clocks run at another rate from the true time ``now`` on. Timers that are set keep their moment.

        Raises:
            ValueError: The rate is not positive.
        """
        if rate <= 0:
            raise ValueError("a clock runs forwards")
        self._local_then = self.local(now)
        self._true_then = now
        self._rate = rate
