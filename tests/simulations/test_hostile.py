"""The lying member is a member, is believed nothing, and is gone in the end."""

import typing

import pytest

from protocol.effects import MemberChanged
from simulations.faults import Hostile, Lie
from simulations.scenario import Scenario, Workload
from simulations.simulation import Simulation
from simulations.witness import Observation, Reported


@pytest.mark.parametrize("lie", typing.get_args(Lie))
def test_a_lying_member_is_a_member_and_fools_nobody(lie: Lie) -> None:
    """DESIGN section 1, promise 5; each kind of lie alone."""
    scenario = Scenario(
        name="lies",
        nodes=4,
        k=3,
        duration_s=7.0,
        workload=Workload(clients=2, operations_per_s=10.0, keys=3),
        faults=(Hostile(at_s=1.5, lies=(lie,), for_s=4.0),),
    )
    simulation = Simulation(scenario, seed=5)
    states: list[str] = []

    def hear(observation: Observation) -> None:
        event = observation.event if isinstance(observation, Reported) else None
        if isinstance(event, MemberChanged) and event.descriptor.name.startswith("hostile"):
            states.append(event.state)

    simulation.cluster.witness.listeners.append(hear)
    verdict = simulation.run()

    assert [check for check in verdict.checks if not check.ok] == []
    assert "alive" in states
    assert states[-1] == "failed"
