"""The check of leases fails where two of them run at once, and only there."""

import math

import pytest

from protocol.effects import RoleChanged
from simulations.catalogue import scenario_of
from simulations.checkers.leases import LeasesNeverOverlap
from simulations.faults import ClockRate
from simulations.simulation import Simulation
from tests.simulations.checkers.doctored import Doctored, doctored, fails, holds


def lease(world: Doctored, number: int, until_s: float) -> None:
    peer = world.peers[number].peer
    assert peer is not None
    peer.core.election.lease_until = until_s  # type: ignore[misc]  # a stand-in


def test_two_leases_at_one_moment_of_true_time_are_found() -> None:
    """By each holder's own clock; one that ended is none, also where a frozen process still believes in it."""
    with doctored(voters=3) as world:
        checker = world.watch(LeasesNeverOverlap(world.context))
        world.run_all()
        for number in range(5):
            lease(world, number, -math.inf)
        lease(world, 0, 10.0)
        lease(world, 1, 9.0)
        world.peers[1].host.clock.set_rate(1.05, now=0.0)
        world.scan(9.5)
        holds(checker)

        world.loop.true_time = 8.5
        world.cluster.witness.reported(world.id_of(1), RoleChanged("leader", 2))

        assert "peer-1 and peer-2 hold leases" in fails(checker)


@pytest.mark.parametrize(
    ("voters", "rate", "expected"), [(3, 1.05, True), (3, 0.95, True), (3, 1.06, False), (0, 1.0, False)]
)
def test_leases_are_watched_where_they_are_promised(voters: int, rate: float, expected: bool) -> None:
    """With fixed voters, and clocks within 5 %."""
    with doctored(voters=voters, faults=(ClockRate(at_s=1.0, target="all", rate=rate),)) as world:
        assert LeasesNeverOverlap.is_promised(world.context) is expected


@pytest.mark.parametrize("seed", range(2))
def test_fixed_voters_lead_only_with_a_majority(seed: int) -> None:
    """The scenario of the catalogue, small: everything holds, leases were looked at, and for a while nobody led."""
    simulation = Simulation(scenario_of("fixed-voters", seed=seed, nodes=5, duration_s=20.0), seed=seed)

    verdict = simulation.run()

    assert verdict.verdict == "PASS", [check for check in verdict.checks if not check.ok]
    assert any(check.name == LeasesNeverOverlap.name for check in verdict.checks)
    without = [moment for moment in simulation.record.moments if 15.0 <= moment.at_s <= 17.0]
    assert without and all(not moment.leaders for moment in without)
