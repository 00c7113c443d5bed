"""The page about the library's defects says what is true: each row names tests that exist, or why there are none."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PAGE = ROOT / "docs" / "decisions" / "0003-kademlia-library.md"
ROWS = re.findall(r"^\| (s?\d+) \| (.+) \| (.+) \|$", PAGE.read_text(), re.MULTILINE)
NOT_CLOSED = {"34"}


def test_every_defect_has_a_row() -> None:
    """Forty from reading and measuring, three from simulation."""
    assert [number for number, _, _ in ROWS] == [str(number) for number in range(1, 41)] + ["s1", "s2", "s3"]


@pytest.mark.parametrize(("number", "here"), [(number, here) for number, _, here in ROWS])
def test_named_tests_exist(number: str, here: str) -> None:
    """A renamed or deleted test must not leave a defect without its guard."""
    named = re.findall(r"`(tests/\S+\.py)::(\w+)`", here)

    assert bool(named) is (number not in NOT_CLOSED)
    assert here.startswith("Not closed: ") is (number in NOT_CLOSED)
    for path, name in named:
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"
