"""Axes: where values lie, and which round values are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulations.report.scales import Linear, Logarithmic, round_up, short


@pytest.mark.parametrize(("high", "ticks"), [(60.0, [0, 20, 40, 60]), (1.0, [0, 0.5, 1.0]), (7.0, [0, 2, 4, 6])])
def test_ticks_are_round(high: float, ticks: list[float]) -> None:
    """1, 2 or 5 times a power of ten apart."""
    assert Linear(0.0, high, 0.0, 100.0).ticks(4) == pytest.approx(ticks)


@given(st.floats(0.001, 1e9), st.integers(1, 20))
def test_ticks_stay_on_their_axis_and_are_few(high: float, count: int) -> None:
    """Whatever the values."""
    ticks = Linear(0.0, high, 0.0, 100.0).ticks(count)

    assert all(-1e-9 <= tick <= high * (1 + 1e-6) for tick in ticks)
    assert 1 <= len(ticks) <= count + 2


def test_a_logarithmic_axis_gives_each_power_the_same_room() -> None:
    """And puts what is too small at its start."""
    scale = Logarithmic(1.0, 1000.0, 300.0, 0.0)

    assert [scale(value) for value in (0.0, 1.0, 10.0, 100.0, 1000.0)] == pytest.approx([300, 300, 200, 100, 0])
    assert scale.ticks(4) == [1.0, 10.0, 100.0, 1000.0]


@given(st.floats(0, 1e12))
def test_an_axis_holds_its_value(value: float) -> None:
    """And is at most two and a half times as long."""
    assert value <= round_up(value) * (1 + 1e-9)
    assert round_up(value) <= max(1.0, 2.5 * value)


def test_large_values_are_named_shortly() -> None:
    """As people write them."""
    assert [short(value) for value in (0, 0.5, 15, 1500, 2e6, 3e9)] == ["0", "0.5", "15", "1.5k", "2M", "3G"]
