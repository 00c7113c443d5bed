"""Doctored networks: a cluster in which nothing runs but what a test says, so that each check can be made to fail."""

import gc
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from protocol.config import PROFILES
from protocol.ids import PeerId, key_digest
from protocol.records import Record
from protocol.statements import Ballot, Certificate, Vote, council_hash, signed
from simulations.checkers import Audience, Context
from simulations.checkers.checker import Checker
from simulations.cluster import Cluster, SimPeer
from simulations.history import History, Kind, Operation, Outcome
from simulations.scenario import Scenario
from simulations.verdict import Check
from simulations.world.loop import SimLoop
from simulations.world.network import Network
from simulations.world.process import Process

COUNT = 5


class Doctored:
    """A context, and short ways to put what is wrong into it."""

    def __init__(self, scenario: Scenario) -> None:
        self.loop = SimLoop(seed=1)
        self.network = Network(self.loop, seed=1)
        self.cluster = Cluster(self.loop, self.network, count=scenario.nodes, seed=1, k=scenario.k)
        self.history = History()
        self.context = Context(self.cluster, self.history, scenario, lambda: self.loop.true_time)
        self.checkers: list[Checker] = []
        self.audience = Audience()
        self.cluster.witness.listeners.append(self.audience.tell)

    @property
    def peers(self) -> list[SimPeer]:
        return self.cluster.peers

    def id_of(self, number: int) -> PeerId:
        return self.peers[number].disk.identity.peer_id

    def watch(self, checker: Checker) -> Checker:
        self.checkers.append(checker)
        self.audience.add(checker)
        return checker

    def scan(self, *times_s: float) -> None:
        """Let all checkers scan at these times."""
        for at_s in times_s:
            self.loop.true_time = at_s
            for checker in self.checkers:
                checker.scanned(at_s)

    def run_all(self, **core: Any) -> None:
        """Let every peer run with a stand-in for its core; each follows the first, and knows all."""
        for peer in self.peers:
            self.run(peer, **core)

    def run(self, peer: SimPeer, **core: Any) -> None:
        """Let one peer run; ``core`` replaces parts of what it says of itself."""
        peer.host.process = Process(peer.host, serial=1, seed=1)
        peer.disk.last_boot = peer.disk.last_boot or 1
        stand_in: Any = SimpleNamespace(core=_core(self, peer, **core), datagram_counts=dict(NOTHING_CAME))
        peer.peer = stand_in

    def operation(self, kind: Kind, *, outcome: Outcome = "ok", began_s: float = 10.0, **fields: Any) -> Operation:
        """Add an operation to the history."""
        return self._add(self.history.operations, kind, outcome, began_s, fields)

    def final_read(self, *, began_s: float = 50.0, **fields: Any) -> Operation:
        """Add a final read."""
        return self._add(self.history.final_reads, "get", "ok", began_s, fields)

    def keep(self, number: int, record: Record) -> None:
        """Put a record on a disk."""
        store = self.peers[number].disk.records
        store._records[key_digest(record.key, open_network=False)] = record

    def record(self, key: str = "key", *, stamp: int = 1, **fields: Any) -> Record:
        """Return a record of the first peer."""
        author_key = self.peers[0].disk.identity.public_key
        return Record(author_key=author_key, key=key, value=fields.pop("value", b"0 "), stamp=stamp, **fields)

    def certificate(
        self, *, term: int, candidate: int, voters: tuple[int, ...], council: tuple[int, ...]
    ) -> Certificate:
        """Return a certificate with the votes of these peers, in the council of those."""
        ids = tuple(sorted(self.id_of(number) for number in council))
        ballot = Ballot(term, self.id_of(candidate))
        votes = tuple(self.vote(voter, ballot, council_hash(ids)) for voter in voters)
        return Certificate(ballot=ballot, council=ids, votes=votes)

    def vote(self, voter: int, ballot: Ballot, council: bytes) -> Vote:
        """Let a peer sign a vote: the witness hears it."""
        identity = self.peers[voter].disk.identity
        vote = Vote(author_key=identity.public_key, ballot=ballot, council_hash=council, voter_boot=1)
        return signed(vote, identity, self.cluster.identity.network_id)

    def _add(
        self, log: list[Operation], kind: Kind, outcome: Outcome, began_s: float, fields: dict[str, Any]
    ) -> Operation:
        defaults: dict[str, Any] = {
            "key": "key", "value": b"0 " if kind == "put" else None, "asked": "peer-1", "ended_s": began_s + 0.01,
        }  # fmt: skip
        operation = Operation(number=len(log), kind=kind, outcome=outcome, began_s=began_s, **{**defaults, **fields})
        log.append(operation)
        return operation


NOTHING_CAME = {"received": 0, "refused": 0, "throttled": 0, "undecodable": 0}


def version(stamp: int) -> str:
    """Return the text of a version with that stamp."""
    return f"{stamp:016x}-0000000000000000"


@contextmanager
def doctored(**fields: Any) -> Iterator[Doctored]:
    """Give a doctored network of ``COUNT`` peers."""
    world = Doctored(Scenario(name="doctored", **{"nodes": COUNT, "k": 3, **fields}))
    try:
        yield world
    finally:
        world.loop.close()
        gc.collect()


def fails(checker: Checker) -> str:
    """Return what a check says, which must fail."""
    check = checker.finished()
    assert not check.ok, check.detail
    return check.detail


def holds(checker: Checker) -> Check:
    """Return a check, which must hold."""
    check = checker.finished()
    assert check.ok, check.detail
    return check


def _core(world: Doctored, peer: SimPeer, **changes: Any) -> Any:
    ids = tuple(sorted(other.disk.identity.peer_id for other in world.peers))
    rows = [
        SimpleNamespace(
            peer_id=other.disk.identity.peer_id,
            descriptor=SimpleNamespace(name=other.name, boot=1, incarnation=0),
            state="alive",
            is_living=True,
        )
        for other in sorted(world.peers, key=lambda other: other.disk.identity.peer_id)
    ]
    leader = world.peers[0]
    fields: dict[str, Any] = {
        "leader": leader.disk.identity.peer_id,
        "role": "leader" if peer is leader else "follower",
        "term": 1,
        "council": ids,
        "rows": rows,
        "check_invariants": lambda: None,
        "ahead_s": 0.0,
    } | changes
    rows = fields["rows"]
    return SimpleNamespace(
        election=SimpleNamespace(
            leader=fields["leader"], role=fields["role"], term=fields["term"], council=fields["council"]
        ),
        membership=SimpleNamespace(table=_Table(rows)),
        check_invariants=fields["check_invariants"],
        network_time_ms=lambda now: int((1_700_000_000.0 + now + fields["ahead_s"]) * 1000),
        config=PROFILES["local"],
    )


class _Table:
    def __init__(self, rows: list[Any]) -> None:
        self.rows = rows
        self._versions = itertools.count()

    @property
    def version(self) -> int:
        """Another one each time: tests change rows behind the table's back."""
        return next(self._versions)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.rows)

    @property
    def ids(self) -> tuple[PeerId, ...]:
        return tuple(row.peer_id for row in self.rows)

    @property
    def living(self) -> tuple[PeerId, ...]:
        return tuple(row.peer_id for row in self.rows if row.is_living)

    def find(self, peer_id: PeerId) -> Any:
        return next((row for row in self.rows if row.peer_id == peer_id), None)
