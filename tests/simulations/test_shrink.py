"""The shrinker: it finds the few faults that matter, and never answers with a scenario that passes."""

from simulations.catalogue import scenario_of
from simulations.faults import AnyFault, Kill, Pause
from simulations.scenario import Scenario
from simulations.shrink import shrunken


def schedule(*faults: AnyFault) -> Scenario:
    return Scenario(name="x", faults=faults)


def test_only_the_faults_that_matter_stay() -> None:
    """Two of many, far apart."""
    faults = tuple(Kill(at_s=float(second), target="random") for second in range(30))

    found = shrunken(schedule(*faults), lambda s: faults[3] in s.faults and faults[27] in s.faults)

    assert found.faults == (faults[3], faults[27])
    assert found.duration_s == 28.0


def test_faults_that_last_are_shortened() -> None:
    """Down to what still fails."""

    def fails(scenario: Scenario) -> bool:
        return any(isinstance(fault, Pause) and fault.for_s >= 1.0 for fault in scenario.faults)

    found = shrunken(schedule(Pause(at_s=1.0, target="leader", for_s=8.0)), fails)

    assert found.faults == (Pause(at_s=1.0, target="leader", for_s=1.0),)


def test_what_fails_without_any_fault_loses_all_of_them() -> None:
    """One run is enough to see it."""
    assert shrunken(scenario_of("churn", seed=1), lambda scenario: True).faults == ()


def test_the_search_ends_and_answers_what_it_has() -> None:
    """However costly each run is."""
    tried: list[Scenario] = []

    def fails(scenario: Scenario) -> bool:
        tried.append(scenario)
        return len(scenario.faults) >= 30

    found = shrunken(scenario_of("churn", seed=1), fails, runs_max=20)

    assert len(tried) <= 20
    assert found in tried
