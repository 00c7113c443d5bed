"""Seeds as they are typed."""

import click
import pytest

from simulations.cli.numbers import SEED_MAX, Seed, Seeds, drawn_seed


@pytest.mark.parametrize(("text", "seed"), [("0", 0), ("7", 7), ("007", 7), (str(SEED_MAX), SEED_MAX)])
def test_a_whole_number_is_a_seed(text: str, seed: int) -> None:
    """From 0 on."""
    assert Seed().convert(text, None, None) == seed


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "1e3", "٣", str(SEED_MAX + 1), "9" * 5000, "1..2"])
def test_anything_else_is_no_seed(text: str) -> None:
    """Also what Python would take for a number."""
    with pytest.raises(click.BadParameter, match="is no seed"):
        Seed().convert(text, None, None)


def test_both_ends_of_a_range_belong_to_it() -> None:
    """``--seeds A..B`` is inclusive (DESIGN section 8)."""
    assert list(Seeds().convert("3..5", None, None)) == [3, 4, 5]
    assert list(Seeds().convert("4..4", None, None)) == [4]


@pytest.mark.parametrize("text", ["", "3", "3..", "..5", "5..3", "1-5", "a..b", "1..2..3", "0..1000000", "-1..2"])
def test_anything_else_is_no_range(text: str) -> None:
    """An empty range too, and one that nobody could wait for."""
    with pytest.raises(click.BadParameter):
        Seeds().convert(text, None, None)


def test_a_drawn_seed_can_be_typed_again() -> None:
    """It is a seed itself."""
    assert Seed().convert(str(drawn_seed()), None, None) >= 0
