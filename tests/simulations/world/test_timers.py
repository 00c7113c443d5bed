"""Timers of hosts whose clocks run at another rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.world.clock import HostClock
from simulations.world.errors import Livelock
from simulations.world.loop import SimLoop


@given(
    rate=st.floats(0.5, 2.0),
    changed_s=st.floats(0, 3600),
    local_s=st.floats(0, 7200),
)
def test_a_timer_never_fires_before_its_clock_shows_its_time(rate: float, changed_s: float, local_s: float) -> None:
    """Rounding once let a timer fire early, be set for the same moment again, and so on for ever (swizzle, seed 5)."""
    clock = HostClock()
    clock.set_rate(rate, now=changed_s)

    due_s = clock.reaches(local_s)

    assert clock.local(due_s) >= local_s
    assert due_s == pytest.approx(clock.true(local_s), abs=2e-9)


def test_events_that_follow_each_other_at_one_instant_are_a_livelock() -> None:
    """Timers for now are turns without a step of time, as callbacks are."""
    loop = SimLoop(seed=1)

    def again() -> None:
        loop.call_at(loop.time(), again)

    again()
    with pytest.raises(Livelock):
        loop.run_forever()
    loop.close()
