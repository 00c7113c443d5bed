"""What a live run judges, what it does not claim, and what it refuses to play."""

import pytest

from node.cli.failures import CommandFailed
from simulations.catalogue import SCENARIOS, scenario_of
from simulations.checkers import make_checkers
from simulations.checkers.calm import Calm
from simulations.checkers.leases import LeasesNeverOverlap
from simulations.cli.live import check_possible
from simulations.faults import DiskFull, Hostile
from simulations.live.checkers import NOT_JUDGED, make_live_checkers
from simulations.live.possible import impossible_faults, runs_live
from tests.simulations.checkers.doctored import doctored


def test_every_check_of_the_simulator_is_judged_or_named_as_not_judged() -> None:
    """Nothing is passed in silence, and nothing is both."""
    with doctored() as world:
        judged = [checker.name for checker in make_live_checkers(world.context, Calm(world.context))]
        simulated = {checker.name for checker in make_checkers(world.context)} | {LeasesNeverOverlap.name}

    assert {*judged, *NOT_JUDGED} == simulated
    assert not {*judged} & {*NOT_JUDGED}


def test_what_real_processes_cannot_have_is_named() -> None:
    """Each kind once, however often it comes."""
    scenario = scenario_of("disk-full", seed=1, nodes=7)

    assert impossible_faults(scenario) == ["disk-full", "disk-slow"]
    with pytest.raises(CommandFailed) as refused:
        check_possible(scenario)
    assert (refused.value.exit_code, refused.value.facts) == (2, {"faults": ["disk-full", "disk-slow"]})
    assert "leader-crash" in refused.value.next_step
    assert "swizzle" not in refused.value.next_step
    assert not DiskFull.is_live and not Hostile.is_live


def test_too_many_processes_are_refused() -> None:
    """Before any of them starts."""
    with pytest.raises(CommandFailed, match="too many for a live run"):
        check_possible(scenario_of("leader-crash", seed=1, nodes=10_000))


def test_most_of_the_catalogue_runs_live() -> None:
    """All but clocks, disks, liars, and what draws from everything."""
    refused = [name for name, entry in SCENARIOS.items() if not runs_live(entry)]

    assert refused == ["fixed-voters", "clock-skew", "disk-full", "hostile-member", "swizzle"]
