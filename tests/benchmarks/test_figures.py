"""Medians, tails and how they are written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.figures import Sample, seconds, spread

VALUES = st.lists(st.floats(min_value=0, max_value=1e6), min_size=1, max_size=200)


def test_percentiles_are_values_that_were_measured_by_nearest_rank() -> None:
    """No value between two measured ones is made up."""
    sample = Sample.of([4.0, 1.0, 3.0, 2.0])

    assert (sample.p50, sample.percentile(25), sample.percentile(76)) == (2.0, 1.0, 4.0)
    assert sample.p99 == sample.max == 4.0
    assert sample.mean == 2.5


@given(VALUES)
def test_percentiles_rise_and_stay_among_the_values(values: list[float]) -> None:
    """Whatever was measured."""
    sample = Sample.of(values)
    found = [sample.percentile(percent) for percent in (0, 1, 50, 90, 99, 100)]

    assert found == sorted(found)
    assert set(found) <= set(values)
    assert (found[0], found[-1]) == (min(values), max(values))


def test_nothing_measured_is_an_error_and_no_figure() -> None:
    """A row without a single value must not look like a fast one."""
    with pytest.raises(ValueError, match="nothing was measured"):
        Sample.of([])


def test_the_tail_of_a_hundred_values_is_the_last_but_one() -> None:
    """The 99th percentile leaves out one in a hundred."""
    assert Sample.of([float(value) for value in range(1, 101)]).p99 == 99.0


@pytest.mark.parametrize(
    ("value_s", "text"),
    [(0.000123, "0.12 ms"), (0.0042, "4.20 ms"), (0.25, "250 ms"), (1.5, "1.50 s"), (62.0, "62.00 s")],
)
def test_durations_are_written_for_people(value_s: float, text: str) -> None:
    """Milliseconds below a second, with decimals where they matter."""
    assert seconds(value_s) == text


def test_the_spread_says_how_many_were_measured() -> None:
    """A median of three is not one of three thousand."""
    assert spread(Sample.of([0.1, 0.2, 0.3])) == "p50 200 ms, p99 300 ms, max 300 ms (n = 3)"
