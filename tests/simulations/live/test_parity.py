"""The same scenarios in virtual time and on real processes come to the same verdicts."""

import pytest

from simulations.catalogue import scenario_of
from simulations.faults import AnyFault
from simulations.live.live_run import LiveRun
from simulations.record import RunRecord
from simulations.scenario import Scenario
from simulations.simulation import Simulation
from simulations.verdict import Verdict

pytestmark = pytest.mark.processes

SEED = 1
NODES = 5
DURATION_S = 6.0


def scenario(name: str) -> Scenario:
    return scenario_of(name, seed=SEED, nodes=NODES, duration_s=DURATION_S)


def told(verdict: Verdict) -> str:
    broken = [f"{check.name}: {check.detail}" for check in verdict.checks if not check.ok]
    return "; ".join(broken) or "all checks hold"


def done(record: RunRecord) -> list[tuple[AnyFault, int]]:
    """Return what was done, and to how many peers; a busy machine may do two things in another order."""
    in_order = sorted(record.applied, key=lambda applied: applied.fault.at_s)
    return [(applied.fault, len(applied.targets)) for applied in in_order]


@pytest.mark.parametrize(
    "name", ["leader-crash", "leader-pause", "split-brain-and-heal", "rolling-restart", "lossy-links"]
)
def test_a_live_run_comes_to_the_verdict_of_the_simulated_one(name: str) -> None:
    """As a whole, and in each check that both judge; what was done is the same as well."""
    simulation, live = Simulation(scenario(name), seed=SEED), LiveRun(scenario(name), seed=SEED)

    expected, found = simulation.run(), live.run()

    assert found.verdict == expected.verdict, told(found)
    held = {check.name: check.ok for check in expected.checks}
    assert {check.name: check.ok for check in found.checks if check.name in held}.items() <= held.items()
    assert {check.name for check in found.checks} >= held.keys() - set(found.not_judged)
    assert done(live.record) == done(simulation.record)
