"""Scenario files: what is read back is what was written, and errors name the field and the line."""

import re
from pathlib import Path

import pytest

from protocol.errors import ConfigError
from simulations.catalogue import SCENARIOS, scenario_of
from simulations.scenario_file import dumps, load, loads, save

GOOD = """\
name = "mine"
nodes = 5

[workload]
clients = 2

[[faults]]
do = "kill"
at_s = 3
target = "leader"

[[faults]]
do = "partition"
at_s = 4.5
groups = [["peer-1", "peer-2"], ["peer-3"]]
for_s = 2
"""


def test_a_file_becomes_a_scenario() -> None:
    """Whole numbers do for seconds."""
    scenario = loads(GOOD, source="mine.toml")

    assert (scenario.nodes, scenario.workload.clients, len(scenario.faults)) == (5, 2, 2)
    assert scenario.faults[0].at_s == 3.0


@pytest.mark.parametrize("name", SCENARIOS)
def test_what_is_written_is_read_back(name: str, tmp_path: Path) -> None:
    """A shrunken schedule is saved as a file and replayed."""
    scenario = scenario_of(name, seed=3)

    save(scenario, tmp_path / "saved.toml")

    assert load(tmp_path / "saved.toml") == scenario
    assert "[workload]" not in dumps(scenario)


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("nodes = 5", "nodes = 0", 2, "nodes: Expected `int` >= 1"),
        ("nodes = 5", "nodes = 10000000", 2, "nodes: Expected `int` <= 10000"),
        ("nodes = 5", "nodes = 'many'", 2, "nodes: Expected `int`"),
        ("nodes = 5", "knots = 5", 2, "knots: there is no such field"),
        ("clients = 2", "clients = -1", 5, "workload.clients: Expected `int` >= 0"),
        ('do = "kill"', 'do = "explode"', 8, "faults[0].do: there is no fault 'explode'; there are kill, "),
        ('do = "kill"\n', "", 7, "faults[0]: each fault says with `do` what it does"),
        ('target = "leader"', 'target = "boss"', 10, "faults[0].target: Expected `str` matching regex"),
        ('target = "leader"', 'target = "peer-9"', 10, "faults[0].target: there is no peer-9"),
        ("at_s = 4.5", "at_s = -1", 14, "faults[1].at_s: Expected `float` >= 0"),
        ("at_s = 4.5", "at_s = 99", 14, "faults[1].at_s: the scenario ends after 60 s"),
        ("for_s = 2\n", "", 12, "faults[1]: Object missing required field `for_s`"),
        ("for_s = 2", "for_s = 2\ncolour = 'red'", 17, "faults[1].colour: there is no such field"),
        ('["peer-3"]]', '["peer-77"]]', 15, "faults[1].groups: there is no peer-77"),
    ],
)
def test_errors_name_the_field_and_the_line(old: str, new: str, line: int, told: str) -> None:
    """A person finds the place at once."""
    with pytest.raises(ConfigError, match=re.escape(f"mine.toml, line {line}: {told}")):
        loads(GOOD.replace(old, new, 1), source="mine.toml")


def test_what_is_no_toml_is_told_with_its_line() -> None:
    """The parser knows where."""
    with pytest.raises(ConfigError, match=r"mine\.toml is not TOML: .*line 2"):
        loads("name = 'x'\nnodes = = 3\n", source="mine.toml")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """And so is one that cannot be written."""
    with pytest.raises(ConfigError, match=r"absent\.toml cannot be read"):
        load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be written"):
        save(scenario_of("churn", seed=1), tmp_path / "absent" / "x.toml")
