"""A run from end to end: what happened is recorded, what ends it early is told, nothing of it is left."""

import asyncio
import gc
from collections.abc import Callable

import pytest

from simulations.faults import AnyFault, Elect, Kill, Partition, Pause, PowerCut, Start, Stop
from simulations.record import Moment
from simulations.scenario import Expectations, Scenario, Workload
from simulations.simulation import Simulation


def scenario(*faults: AnyFault, **fields: object) -> Scenario:
    workload = Workload(clients=2, operations_per_s=10.0, keys=4)
    return Scenario(name="x", nodes=4, duration_s=5.0, workload=workload, faults=faults, **fields)  # type: ignore[arg-type]


def played(what: Scenario, on_moment: Callable[[Moment], None] | None = None) -> Simulation:
    simulation = Simulation(what, seed=5, on_moment=on_moment)
    simulation.verdict = simulation.run()  # type: ignore[attr-defined]
    return simulation


def failed(simulation: Simulation) -> dict[str, str]:
    return {check.name: check.detail for check in simulation.verdict.checks if not check.ok}  # type: ignore[attr-defined]


def test_a_run_records_what_happened() -> None:
    """Faults with their targets, a moment for each second, all operations, a way back to health."""
    simulation = played(scenario(Kill(at_s=1.5, target="leader"), Start(at_s=3.0, target="all")))
    record = simulation.record

    assert failed(simulation) == {}
    assert [len(applied.targets) for applied in record.applied] == [1, 1]
    assert record.applied[0].targets == record.applied[1].targets
    assert [moment.up for moment in record.moments[:4]] == [4, 3, 4, 4]
    assert len({name for moment in record.moments for name in moment.leaders}) == 2
    assert record.healed_s == 5.0
    assert record.settled_s is not None
    assert record.history.operations


def test_every_fault_of_a_process_ends_with_the_run() -> None:
    """A peer that froze, lost power, was cut off or stopped is there in the end."""
    simulation = played(
        scenario(
            Pause(at_s=1.0, target="peer-1", for_s=60.0),
            PowerCut(at_s=1.2, target="peer-2"),
            Stop(at_s=1.4, target="peer-3"),
            Partition(at_s=1.6, groups=(("peer-1", "peer-2"), ("peer-3", "peer-4")), for_s=60.0),
        )
    )

    assert failed(simulation) == {}
    assert simulation.record.moments[-1].alive_tables == {4: 4}


def test_somebody_may_ask_for_another_leader() -> None:
    """The lead is handed over, and nobody notices a gap."""
    simulation = played(scenario(Elect(at_s=2.5, target="peer-2")))
    leaders = [moment.leaders for moment in simulation.record.moments]

    assert failed(simulation) == {}
    assert [sum(each.values()) for each in leaders] == [4] * len(leaders)
    assert len({name for each in leaders for name in each}) == 2


def test_a_network_that_does_not_recover_in_time_fails() -> None:
    """With no time at all nothing can."""
    assert "all is well again" in failed(played(scenario(settle_s=0.0)))


def test_what_the_scenario_expects_is_checked() -> None:
    """Here: that nobody ever leads."""
    found = failed(played(scenario(expect=Expectations(elections_max=0))))

    assert "of at most 0" in found["as the scenario expects"]


@pytest.mark.parametrize(
    ("error", "told"), [(KeyboardInterrupt(), "interrupted"), (RuntimeError("a bug"), "RuntimeError: a bug")]
)
def test_a_run_that_ends_early_says_why_and_when(error: BaseException, told: str) -> None:
    """A partial verdict judges what was seen, not what only the end shows; the collector is as it was."""

    def stop(moment: Moment) -> None:
        if moment.at_s > 1.5:
            raise error

    was_on = gc.isenabled()
    simulation = played(scenario(), stop)

    assert failed(simulation) == {"the run came to its end": f"after 2.0 s: {told}"}
    assert "one leader in the end" in simulation.verdict.not_judged  # type: ignore[attr-defined]
    assert gc.isenabled() == was_on
    assert asyncio.events._get_running_loop() is None


def test_a_peer_that_ends_by_itself_is_told() -> None:
    """Nobody asked it to."""

    def end_one(moment: Moment) -> None:
        peer = simulation.cluster.peers[2]
        if moment.at_s == 2.0 and peer.stop is not None and peer.host.process is not None:
            peer.host.process.run(peer.stop.set)

    simulation = Simulation(scenario(), seed=5, on_moment=end_one)
    verdict = simulation.run()

    found = next(check for check in verdict.checks if check.name == "no peer ended by itself")
    assert not found.ok
    assert "peer-3 at 2." in found.detail


def test_an_error_that_nobody_takes_is_told() -> None:
    """Neither a callback nor a task of a peer may raise into the void."""

    def raise_in_one(moment: Moment) -> None:
        peer = simulation.cluster.peers[1]
        if moment.at_s == 2.0 and peer.host.process is not None:
            peer.host.process.run(simulation.cluster.loop.call_soon, lambda: dict[str, int]()["a bug"])

    simulation = Simulation(scenario(), seed=5, on_moment=raise_in_one)
    verdict = simulation.run()

    found = next(check for check in verdict.checks if check.name == "no error escaped")
    assert not found.ok
    assert "1, the first: KeyError('a bug')" in found.detail
