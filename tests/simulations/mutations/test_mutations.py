"""Planted bugs are planted and taken out again, and some are hunted; ``python -m simulations.mutations`` hunts all."""

import importlib
from typing import Any

import pytest

from simulations.mutations import MUTATIONS, Mutation, Plant, TargetMissing, planted, run
from simulations.mutations.scenes import swizzle
from simulations.simulation import Simulation

CAUGHT = [("vote not persisted", 1), ("expired records revived", 1), ("stale lease", 1)]


def value_of(target: str) -> Any:
    module, _, path = target.partition(":")
    found = importlib.import_module(module)
    for name in path.split("."):
        found = vars(found)[name]
    return found


def test_there_are_enough() -> None:
    """A suite that plants fewer says little."""
    assert len(MUTATIONS) >= 20


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_bug_is_planted_and_taken_out_again(name: str) -> None:
    """Its targets exist, and are as before afterwards."""
    targets = [plant.target for plant in MUTATIONS[name].plants]
    before = [value_of(target) for target in targets]

    with planted(MUTATIONS[name]):
        assert all(value_of(target) is not value for target, value in zip(targets, before, strict=True))

    assert all(value_of(target) is value for target, value in zip(targets, before, strict=True))


@pytest.mark.parametrize("target", ["protocol.nowhere:It", "protocol.records:Nothing", "protocol.records:Record.lost"])
def test_a_bug_without_a_target_is_an_error(target: str) -> None:
    """Code moves on; a mutation that changes nothing would always be missed."""
    lost = Mutation(name="lost", summary="", plants=(Plant(target, lambda original: original),), scenario=swizzle)

    with pytest.raises(TargetMissing), planted(lost):
        pass


@pytest.mark.parametrize(("name", "seed"), CAUGHT)
def test_a_planted_bug_is_caught(name: str, seed: int) -> None:
    """A smoke slice of the hunt, with seeds that are known to catch."""
    assert run(name, seed).verdict == "FAIL"


def test_without_a_bug_the_same_scene_passes() -> None:
    """Else the hunts would prove nothing."""
    verdict = Simulation(swizzle(1), seed=1).run()

    assert [check for check in verdict.checks if not check.ok] == []
