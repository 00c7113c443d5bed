"""Clients: they read and write through any running peer while faults happen, and write down what each answer said.

Each value names the write that it comes from, so a read tells whose write it saw. What a client is not told for
certain is *unknown*: the peer died or froze in the middle, or said that a write may or may not survive.
"""

import asyncio
import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from node.errors import OperationError
from node.peer import Peer
from node.shapes import WriteReceipt
from protocol.ids import key_digest
from simulations.cluster import Cluster, SimPeer
from simulations.history import History, Kind, Operation, Outcome, stamp_of_version
from simulations.scenario import Workload

OPERATION_TIMEOUT_S: Final = 3.0
"""What a client grants the peer that it asks."""

_ANSWER_TIMEOUT_S: Final = OPERATION_TIMEOUT_S + 1.0
"""How long it waits for that peer's answer; a dead or frozen peer gives none."""

_TTL_S: Final = (0.5, 10.0)
"""Between these a time to live is drawn."""

_FINAL_READS_AT_ONCE: Final = 16

_NEVER_BEGUN: Final = ("bad-request", "key-invalid", "key-owned", "value-too-large", "version-mismatch", "not-ready")
"""Problems that are raised before anything is stored."""

ESCAPED: Final = "escaped: "
"""Begins the problem of an operation that ended with anything but the errors that a peer may raise."""


class Clients:
    """All clients of one run; each asks one thing at a time, of a peer that it draws anew each time."""

    def __init__(self, cluster: Cluster, workload: Workload, history: History, seed: int) -> None:
        """Prepare; everything that they do follows from ``seed`` and from what the peers answer."""
        self._cluster = cluster
        self._workload = workload
        self._history = history
        self._seed = seed

    @property
    def keys(self) -> list[str]:
        """The keys that they use."""
        return [f"key-{number}" for number in range(self._workload.keys)]

    async def run(self, until_s: float) -> None:
        """Ask on and on; begin nothing at or after ``until_s`` (true time), and return when all answers are in."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workload.clients):
                group.create_task(self._be_client(random.Random(f"{self._seed}/client/{number}"), until_s))

    async def read_everything(self, keys: Iterable[str]) -> list[Operation]:
        """Read each key through each running peer; the reads are kept in ``History.final_reads`` as well."""
        slots = asyncio.Semaphore(_FINAL_READS_AT_ONCE)

        async def read(peer: SimPeer, key: str) -> None:
            async with slots:
                if peer.peer is None:
                    return  # it died since; whoever watches the peers says why
                operation = self._begin("get", key, None, None, peer, self._history.final_reads)
                await self._carry_out(operation, peer)

        async with asyncio.TaskGroup() as group:
            for key in keys:
                for peer in self._cluster.running():
                    group.create_task(read(peer, key))
        return self._history.final_reads

    async def _be_client(self, draws: random.Random, until_s: float) -> None:
        pause_s = self._workload.clients / self._workload.operations_per_s
        while True:
            await asyncio.sleep(draws.expovariate(1 / pause_s))
            if self._cluster.loop.true_time >= until_s:
                return
            running = self._cluster.running()
            if running:
                peer = draws.choice(running)
                await self._carry_out(self._draw(draws, peer), peer)

    def _draw(self, draws: random.Random, peer: SimPeer) -> Operation:
        workload = self._workload
        key = f"key-{draws.randrange(workload.keys)}"
        if draws.random() < workload.reads:
            return self._begin("get", key, None, None, peer, self._history.operations)
        if draws.random() < workload.deletes:
            return self._begin("delete", key, None, None, peer, self._history.operations)
        ttl_s = round(draws.uniform(*_TTL_S), 3) if draws.random() < workload.expiring else None
        value = f"{len(self._history.operations)} ".encode().ljust(workload.value_bytes, b".")
        return self._begin("put", key, value, ttl_s, peer, self._history.operations)

    def _begin(
        self, kind: Kind, key: str, value: bytes | None, ttl_s: float | None, peer: SimPeer, log: list[Operation]
    ) -> Operation:
        operation = Operation(
            number=len(log),
            kind=kind,
            key=key,
            value=value,
            ttl_s=ttl_s,
            asked=peer.name,
            began_s=self._cluster.loop.true_time,
        )
        log.append(operation)
        return operation

    async def _carry_out(self, operation: Operation, peer: SimPeer) -> None:
        """Ask, and note what came of it."""
        outcome: Outcome = "unknown"
        deadline = asyncio.timeout(_ANSWER_TIMEOUT_S)
        try:
            async with deadline:
                answer = await self._cluster.ask(peer, lambda running: _asked(running, operation))
        except OperationError as error:
            outcome, operation.problem = _outcome_of(operation, error), error.type
        except Exception as error:
            operation.problem = "no answer" if deadline.expired() else f"{ESCAPED}{error!r}"
        else:
            outcome = "ok"
            operation.version = answer.version
            if isinstance(answer, WriteReceipt):
                operation.holders, operation.wanted = tuple(answer.holders), answer.wanted
                operation.on_disk = self._on_disk(operation)
            else:
                operation.value, operation.seen = answer.value, answer.seen
        operation.outcome = outcome
        operation.ended_s = self._cluster.loop.true_time

    def _on_disk(self, write: Operation) -> tuple[str, ...]:
        """Return the named holders that have an acknowledged version on disk, or a newer one."""
        place, stamp = key_digest(write.key, open_network=False), stamp_of_version(write.version)
        disks = {peer.disk.identity.peer_id.hex(): peer.disk for peer in self._cluster.peers}
        kept = {holder: disks[holder].records.read(place) for holder in write.holders if holder in disks}
        return tuple(holder for holder, record in kept.items() if record is not None and record.stamp >= stamp)


@dataclass(frozen=True, slots=True)
class _Found:
    """What a read answered; nothing when the key is absent."""

    value: bytes | None = None
    version: str | None = None
    seen: tuple[str, ...] = ()


async def _asked(peer: Peer, operation: Operation) -> WriteReceipt | _Found:
    """Do what ``operation`` says, as code of the peer's process."""
    key = operation.key
    if operation.kind == "delete":
        return await peer.delete(key, if_version=None, timeout_s=OPERATION_TIMEOUT_S)
    if operation.kind == "put":
        assert operation.value is not None, "a put has a value"
        return await peer.put(
            key, operation.value, ttl_s=operation.ttl_s, if_version=None, timeout_s=OPERATION_TIMEOUT_S
        )
    try:
        found = await peer.get(key, quorum=False, timeout_s=OPERATION_TIMEOUT_S)
    except OperationError as error:
        if error.type == "not-found":
            return _Found()
        raise
    seen = tuple(asked.version for asked in found.explain.asked if asked.version is not None)
    return _Found(found.record.value, found.record.version, seen)


def _outcome_of(operation: Operation, error: OperationError) -> Outcome:
    """Return what a peer's error means: a refused or unconfirmed write may be on some disk all the same."""
    is_read = operation.kind == "get"
    return "failed" if is_read or error.type in _NEVER_BEGUN else "unknown"
