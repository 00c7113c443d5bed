"""Seeds that once showed a bug of the peer go on passing (docs/simulations.md, "What it found")."""

from pathlib import Path

import pytest

from simulations.mutations.scenes import swizzle
from simulations.scenario import Scenario
from simulations.scenario_file import load
from simulations.simulation import Simulation

FOUND = Path(__file__).parent / "found"


@pytest.mark.parametrize(
    ("scenario", "seed"),
    [
        pytest.param(load(FOUND / "ten-days-ahead.toml"), 12, id="cut off with a liar, a peer wrote ten days ahead"),
        pytest.param(swizzle(12), 12, id="the same before its schedule was made smaller"),
        pytest.param(load(FOUND / "own-term-won-late.toml"), 53, id="a candidate won its term after it voted on"),
        pytest.param(load(FOUND / "three-leaders-lapsed.toml"), 26, id="three leaders lapsed and none fell silent"),
        pytest.param(swizzle(4), 4, id="a holder answered with the version before one that expired"),
    ],
)
def test_a_seed_that_once_failed_passes(scenario: Scenario, seed: int) -> None:
    """All checks hold."""
    verdict = Simulation(scenario, seed=seed).run()

    assert [check for check in verdict.checks if not check.ok] == []
