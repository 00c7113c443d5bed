"""The two clocks of a peer. Everything that asks for the time asks here or asks the event loop."""

import time
from typing import Final

_STEADY: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady_s() -> float:
    """Return seconds of a clock that never steps and, where the system has one, goes on during suspend.

    Leases are counted on it: a laptop that slept must not wake up believing that it still leads.
    """
    return time.clock_gettime(_STEADY)


def wall_ms() -> int:
    """Return the wall clock, in milliseconds since 1970."""
    return int(time.time() * 1000)
