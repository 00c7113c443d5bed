"""The catalogue: every scenario is what its page says, drawn from the seed alone, for any number of peers."""

import re
from pathlib import Path

import msgspec
import pytest

from simulations.catalogue import SCENARIOS, scenario_of
from simulations.faults import ends_at
from simulations.scenario import Scenario
from simulations.scenario_file import dumps, loads

ROOT = Path(__file__).resolve().parents[3]
PAGES = ROOT / "docs" / "scenarios"


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_scenario_has_a_page_that_begins_with_its_summary(name: str) -> None:
    """What ``pair simulate --list`` tells is what the page says."""
    entry = SCENARIOS[name]

    title, summary, *_ = (ROOT / entry.page).read_text().split("\n\n")

    assert (title, summary) == (f"# {name}", entry.summary)
    assert f"| [{name}]({name}.md) | {entry.summary} |" in (PAGES / "README.md").read_text()


def test_no_page_tells_of_a_scenario_that_is_not_there() -> None:
    """A renamed scenario takes its page along."""
    assert {path.stem for path in PAGES.glob("*.md")} == {"README", *SCENARIOS}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("nodes", [1, 2, 3, 15, 60])
def test_each_scenario_is_valid_for_any_number_of_peers(name: str, nodes: int) -> None:
    """It names only peers that are there, and ends its faults within its duration or soon after."""
    for seed in range(4):
        scenario = scenario_of(name, seed=seed, nodes=nodes, duration_s=30.0)

        assert loads(dumps(scenario), source=name) == scenario
        assert all(fault.at_s <= 30.0 and ends_at(fault) <= 40.0 for fault in scenario.faults)
        assert list(scenario.faults) == sorted(scenario.faults, key=lambda fault: fault.at_s)


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_draw_gives_the_same_scenario(name: str) -> None:
    """A seed is all that a replay needs."""
    assert scenario_of(name, seed=7) == scenario_of(name, seed=7)


def test_seeds_differ() -> None:
    """Fifty seeds of swizzle are fifty schedules."""
    schedules = {msgspec.json.encode(scenario_of("swizzle", seed=seed).faults) for seed in range(50)}

    assert len(schedules) == 50


def test_half_of_the_seeds_keep_three_copies_among_at_least_fifteen_peers() -> None:
    """So that placement matters."""
    assert [scenario_of("churn", seed=seed, nodes=15).k for seed in range(4)] == [8, 3, 8, 3]
    assert [scenario_of("churn", seed=seed, nodes=14).k for seed in range(4)] == [8, 8, 8, 8]


def test_swizzle_draws_every_kind_of_fault() -> None:
    """Nothing in ``faults.py`` is left out."""
    kinds = {type(fault).__name__ for seed in range(40) for fault in scenario_of("swizzle", seed=seed).faults}

    assert kinds == {
        "Kill", "PowerCut", "Stop", "Start", "Pause", "Partition", "OneWayCut", "Links", "ClockJump", "ClockRate",
        "DiskSlow", "DiskFull", "DiskLost", "Hostile",
    }  # fmt: skip


def test_the_examples_of_the_guide_are_scenarios() -> None:
    """Both of them, as written."""
    guide = (PAGES / "README.md").read_text()
    file, function = re.findall(r"```(?:toml|python)\n(.*?)```", guide, re.DOTALL)
    namespace: dict[str, object] = {}

    exec(function, namespace)

    assert loads(file, source="the guide").name == "two-deaths"
    assert callable(namespace["scenario"])
    assert isinstance(loads(file, source="the guide"), Scenario)
