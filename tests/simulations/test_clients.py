"""Clients write down what they asked and what came of it."""

from types import SimpleNamespace
from typing import cast

import msgspec

from node.ports import StoredRecord
from node.shapes import WriteReceipt
from protocol.identity import Identity
from protocol.ids import key_digest
from simulations.asking import ClusterAnswerers
from simulations.clients import OPERATION_TIMEOUT_S
from simulations.cluster import Cluster
from simulations.disk import HostDisk
from simulations.faults import Pause
from simulations.history import History, Operation, stamp_of_version
from simulations.simulation import Simulation
from tests.protocol import samples
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


async def test_a_disk_that_is_destroyed_while_the_answer_is_on_its_way_kept_what_it_confirmed() -> None:
    """swizzle, 20 peers, seed 98: the receipt was true, 38 ms after a disk of it had been replaced."""
    names = ("kept", "destroyed", "empty")
    disks = {name: HostDisk(Identity(name.encode().ljust(32)), seed=0) for name in names}
    peers = [SimpleNamespace(name=name, peer_id=disk.identity.peer_id, disk=disk) for name, disk in disks.items()]
    disks["empty"].destroy()  # before the write
    holders = [peer.peer_id.hex() for peer in peers]

    class Asked(SimpleNamespace):
        async def ask(self, peer: object, work: object) -> WriteReceipt:
            record = samples.record(1)
            store = disks["kept"].records
            await store.commit([StoredRecord(key_digest("k", open_network=False), record)])
            disks["destroyed"].destroy()
            version = f"{record.stamp:016x}-{record.author.hex()}"
            return WriteReceipt(key="k", version=version, holders=holders, wanted=3, existed=False)

    answerers = ClusterAnswerers(cast(Cluster, Asked(peers=peers)))
    write = Operation(number=0, kind="put", key="k", value=b"v", ttl_s=None, asked="kept", began_s=0.0)
    await answerers.ask("kept", write)

    assert write.on_disk == tuple(holders[:2])


def test_the_same_seed_asks_the_same() -> None:
    """Another seed asks otherwise."""
    assert history_of(2) == history_of(2)
    assert history_of(2) != history_of(3)
