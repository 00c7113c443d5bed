"""Clients write down what they asked and what came of it."""

import msgspec

from simulations.clients import OPERATION_TIMEOUT_S
from simulations.faults import Pause
from simulations.history import History, stamp_of_version
from simulations.simulation import Simulation
from tests.simulations.small_runs import SMALL

_BUSY = msgspec.structs.replace(
    SMALL,
    duration_s=8.0,
    workload=msgspec.structs.replace(SMALL.workload, clients=4, operations_per_s=20.0, expiring=0.3, deletes=0.3),
    faults=(*SMALL.faults, Pause(at_s=4.0, target="peer-2", for_s=5.0)),
)


def history_of(seed: int) -> History:
    simulation = Simulation(_BUSY, seed=seed)
    simulation.run()
    return simulation.record.history


def test_clients_tell_what_they_know() -> None:
    """Each write has a value of its own, each operation an end within its time, and what is not known is unknown."""
    history = history_of(1)

    operations = history.operations
    puts = [operation for operation in operations if operation.kind == "put"]
    written = [put.value for put in puts]
    assert len(set(written)) == len(written) > 0
    assert {operation.kind for operation in operations} == {"put", "get", "delete"}
    assert any(put.ttl_s is not None for put in puts)
    for operation in operations:
        assert operation.ended_s is not None
        assert operation.ended_s <= operation.began_s + OPERATION_TIMEOUT_S + 1.01
    silent = [operation for operation in operations if operation.problem == "no answer"]
    assert all(operation.outcome == "unknown" for operation in silent)
    for write in operations:
        if write.kind != "get" and write.outcome == "ok":
            assert stamp_of_version(write.version) > 0
            assert set(write.on_disk) == set(write.holders) != set()
    assert len(history.final_reads) == SMALL.workload.keys * SMALL.nodes


def test_the_same_seed_asks_the_same() -> None:
    """Another seed asks otherwise."""
    assert history_of(2) == history_of(2)
    assert history_of(2) != history_of(3)
