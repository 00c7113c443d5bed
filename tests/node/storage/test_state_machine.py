"""The store on disk as a state machine beside its twin in memory: every answer is the same after every step."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from node.ports import StoredRecord
from node.storage.records import SqliteRecordStore
from simulations.memory_records import MemoryRecordStore
from tests.examples import machine_settings
from tests.node.storage.test_record_store import compare, versions

_entries = st.lists(versions, max_size=4)


class Stores(RuleBasedStateMachine):
    """Commits, removals and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._loop = asyncio.new_event_loop()
        self._twin = MemoryRecordStore()
        self._store = self._open()

    @rule(entries=_entries)
    def commit(self, entries: list[StoredRecord]) -> None:
        """The same versions win."""
        won = self._loop.run_until_complete(self._store.commit(entries))
        assert won == self._loop.run_until_complete(self._twin.commit(entries))

    @rule(entries=_entries)
    def remove(self, entries: list[StoredRecord]) -> None:
        """Exactly these versions."""
        self._loop.run_until_complete(self._store.remove(entries))
        self._loop.run_until_complete(self._twin.remove(entries))

    @rule(entries=_entries)
    def set_aside(self, entries: list[StoredRecord]) -> None:
        """Out of every read."""
        self._loop.run_until_complete(self._store.set_aside(entries))
        self._loop.run_until_complete(self._twin.set_aside(entries))

    @rule(stamp=st.integers(0, 2**40))
    def raise_collected_before(self, stamp: int) -> None:
        """It never falls."""
        self._loop.run_until_complete(self._store.raise_collected_before(stamp))
        self._loop.run_until_complete(self._twin.raise_collected_before(stamp))

    @rule()
    def restart(self) -> None:
        """Nothing is lost, and nothing counts as damaged."""
        self._loop.run_until_complete(self._store.close())
        self._store = self._open()
        assert self._store.damage is None

    @invariant()
    def answers_as_the_twin(self) -> None:
        """Every question."""
        compare(self._store, self._twin)

    def teardown(self) -> None:
        """Close."""
        self._loop.run_until_complete(self._store.close())
        self._loop.close()
        self._folder.cleanup()

    def _open(self) -> SqliteRecordStore:
        return SqliteRecordStore(Path(self._folder.name) / "records.sqlite", executor=None)


TestStores = Stores.TestCase
TestStores.settings = machine_settings(runs=15, steps=12)
