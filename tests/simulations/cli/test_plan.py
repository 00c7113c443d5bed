"""What a name, a file or a function becomes, and the command that plays it again."""

import shlex
from pathlib import Path

import pytest

from node.cli.failures import CommandFailed
from simulations.catalogue import SCENARIOS
from simulations.cli.plan import Changes, planned
from tests.simulations.small_runs import function_file


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_of_the_catalogue_is_a_plan(name: str) -> None:
    """With the options written into it."""
    found = planned(name, Changes(nodes=20, duration_s=30.0, k=4, profile="lan")).scenario(1)

    assert (found.name, found.nodes, found.duration_s, found.k, found.profile) == (name, 20, 30.0, 4, "lan")


def test_half_the_seeds_have_few_holders() -> None:
    """So that placement matters (issue: half the seeds use --k 3 with at least 15 peers)."""
    plan = planned("leader-crash", Changes())

    assert {plan.scenario(seed).k for seed in range(4)} == {3, 8}


def test_the_replay_names_what_the_seed_alone_does_not_say() -> None:
    """Size and length are written out; a later default changes nothing."""
    words = shlex.split(planned("churn", Changes(k=5)).replay(9))

    assert words == ["pair", "simulate", "churn", "--nodes", "15", "--duration", "60", "--k", "5", "--seed", "9"]


def test_an_unknown_scenario_names_its_neighbours() -> None:
    """Wrong use, with what was probably meant."""
    with pytest.raises(CommandFailed) as failure:
        planned("leader-crsh", Changes())

    assert failure.value.exit_code == 2
    assert "leader-crash" in failure.value.next_step
    assert "leader-crash" in failure.value.facts["near"]


def test_a_name_that_is_like_no_other_still_gets_a_next_step() -> None:
    """The list of all."""
    with pytest.raises(CommandFailed) as failure:
        planned("zzzzzzzz", Changes())

    assert "--list" in failure.value.next_step


def test_a_function_of_a_file_makes_the_scenario(tmp_path: Path) -> None:
    """Its name is the file's, its summary the docstring."""
    path = function_file(tmp_path)
    plan = planned(str(path), Changes(nodes=5, duration_s=4.0))

    found = plan.scenario(3)

    assert (found.name, found.summary, found.nodes) == ("mine", "One death.", 5)
    assert str(path) in plan.replay(3)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("broken", "line 17: ZeroDivisionError"),
        ("wrong", "returned no Scenario but str"),
        ("nothing", "holds no function nothing"),
        ("number", "holds no function number"),
    ],
)
def test_a_function_that_makes_none_is_wrong_use(function: str, words: str, tmp_path: Path) -> None:
    """With the line of the user's own file."""
    path = function_file(tmp_path)

    with pytest.raises(CommandFailed, match=words) as failure:
        planned(f"{path}:{function}", Changes()).scenario(1)

    assert failure.value.exit_code == 2


def test_a_python_file_that_cannot_be_read_is_wrong_use(tmp_path: Path) -> None:
    """Missing, or no Python at all."""
    (tmp_path / "bad.py").write_text("def scenario(draw)\n")

    with pytest.raises(CommandFailed, match="there is no file"):
        planned(str(tmp_path / "none.py"), Changes())
    with pytest.raises(CommandFailed, match="line 1: SyntaxError"):
        planned(str(tmp_path / "bad.py"), Changes())
