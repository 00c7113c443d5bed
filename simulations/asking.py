"""Asks simulated peers for the clients: as code of the asked peer's own process, without its API."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.errors import OperationError
from node.peer import Peer
from node.shapes import WriteReceipt
from protocol.ids import key_digest
from simulations.clients import OPERATION_TIMEOUT_S
from simulations.cluster import Cluster
from simulations.history import Operation, stamp_of_version


class ClusterAnswerers:
    """Implements ``simulations.clients.Answerers`` on a simulated cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._peers = {peer.name: peer for peer in cluster.peers}

    def now_s(self) -> float:
        """Return the true time."""
        return self._cluster.loop.true_time

    def answering(self) -> Sequence[str]:
        """Return the names of the running peers."""
        return [peer.name for peer in self._cluster.running()]

    def is_answering(self, name: str) -> bool:
        """Return whether a peer runs."""
        return self._peers[name].is_running

    async def ask(self, name: str, operation: Operation) -> None:
        """Let a peer do what ``operation`` says; see ``Answerers``."""
        losses = {} if operation.kind == "get" else {peer.name: peer.disk.losses for peer in self._cluster.peers}
        answer = await self._cluster.ask(self._peers[name], lambda running: _asked(running, operation))
        operation.version = answer.version
        if isinstance(answer, WriteReceipt):
            operation.holders, operation.wanted = tuple(answer.holders), answer.wanted
            operation.on_disk = self._on_disk(operation, losses)
        else:
            operation.value, operation.seen = answer.value, answer.seen

    def _on_disk(self, write: Operation, losses: Mapping[str, int]) -> tuple[str, ...]:
        """Return the named holders that have an acknowledged version on disk, or a newer one.

        A disk that was destroyed since the write began may have had it: ``losses`` counts by peer, as it was then.
        """
        place, stamp = key_digest(write.key, open_network=False), stamp_of_version(write.version)
        peers = {peer.peer_id.hex(): peer for peer in self._cluster.peers}
        having = []
        for peer in (peers[holder] for holder in write.holders if holder in peers):
            record = peer.disk.records.read(place)
            if (record is not None and record.stamp >= stamp) or peer.disk.losses > losses[peer.name]:
                having.append(peer.peer_id.hex())
        return tuple(having)


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
