"""A ``PAIR_HOME`` of its own for each test that breaks what it starts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.running import Home, running_home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Return a home in which nothing lives yet."""
    with running_home(tmp_path / "home") as home:
        yield home
