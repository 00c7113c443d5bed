"""Clients: they read and write through any running peer while faults happen, and write down what each answer said.

Each value names the write that it comes from, so a read tells whose write it saw. What a client is not told for
certain is *unknown*: the peer died or froze in the middle, or said that a write may or may not survive.
"""

import asyncio
import random
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from node.errors import OperationError
from simulations.history import History, Kind, Operation, Outcome
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


class Unanswered(Exception):
    """A peer gave no whole answer, and gives none any more.

    Attributes:
        was_asked: Whether it may have done what it was asked for all the same.
    """

    def __init__(self, text: str, *, was_asked: bool) -> None:
        super().__init__(text)
        self.was_asked = was_asked


class Answerers(Protocol):
    """The peers as clients reach them: in the virtual world, or over HTTP."""

    def now_s(self) -> float:
        """Return the true time."""

    def answering(self) -> Sequence[str]:
        """Return the names of the peers that can be asked just now, in the order of the network."""

    def is_answering(self, name: str, /) -> bool:
        """Return whether a peer can be asked just now."""

    async def ask(self, name: str, operation: Operation, /) -> None:
        """Let a peer do what ``operation`` says, and note in it what the answer told.

        The caller has a deadline: a peer that dies or freezes meanwhile never answers.

        Raises:
            OperationError: The peer answered with that problem.
            Unanswered: It did not, and will not.
        """


class Clients:
    """All clients of one run; each asks one thing at a time, of a peer that it draws anew each time."""

    def __init__(self, answerers: Answerers, workload: Workload, history: History, seed: int) -> None:
        """Prepare; everything that they do follows from ``seed`` and from what the peers answer."""
        self._answerers = answerers
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

        async def read(name: str, key: str) -> None:
            async with slots:
                if not self._answerers.is_answering(name):
                    return  # it died since; whoever watches the peers says why
                await self._carry_out(self._begin("get", key, None, None, name, self._history.final_reads))

        async with asyncio.TaskGroup() as group:
            for key in keys:
                for name in self._answerers.answering():
                    group.create_task(read(name, key))
        return self._history.final_reads

    async def _be_client(self, draws: random.Random, until_s: float) -> None:
        pause_s = self._workload.clients / self._workload.operations_per_s
        while True:
            await asyncio.sleep(draws.expovariate(1 / pause_s))
            if self._answerers.now_s() >= until_s:
                return
            answering = self._answerers.answering()
            if answering:
                await self._carry_out(self._draw(draws, draws.choice(answering)))

    def _draw(self, draws: random.Random, name: str) -> Operation:
        workload = self._workload
        key = f"key-{draws.randrange(workload.keys)}"
        if draws.random() < workload.reads:
            return self._begin("get", key, None, None, name, self._history.operations)
        if draws.random() < workload.deletes:
            return self._begin("delete", key, None, None, name, self._history.operations)
        ttl_s = round(draws.uniform(*_TTL_S), 3) if draws.random() < workload.expiring else None
        value = f"{len(self._history.operations)} ".encode().ljust(workload.value_bytes, b".")
        return self._begin("put", key, value, ttl_s, name, self._history.operations)

    def _begin(
        self, kind: Kind, key: str, value: bytes | None, ttl_s: float | None, name: str, log: list[Operation]
    ) -> Operation:
        operation = Operation(
            number=len(log),
            kind=kind,
            key=key,
            value=value,
            ttl_s=ttl_s,
            asked=name,
            began_s=self._answerers.now_s(),
        )
        log.append(operation)
        return operation

    async def _carry_out(self, operation: Operation) -> None:
        """Ask, and note what came of it."""
        outcome: Outcome = "unknown"
        deadline = asyncio.timeout(_ANSWER_TIMEOUT_S)
        try:
            async with deadline:
                await self._answerers.ask(operation.asked, operation)
        except OperationError as error:
            outcome, operation.problem = _outcome_of(operation, error), error.type
        except Unanswered as error:
            outcome, operation.problem = "unknown" if error.was_asked else "failed", str(error)
        except Exception as error:
            operation.problem = "no answer" if deadline.expired() else f"{ESCAPED}{error!r}"
        else:
            outcome = "ok"
        operation.outcome = outcome
        operation.ended_s = self._answerers.now_s()


def _outcome_of(operation: Operation, error: OperationError) -> Outcome:
    """Return what a peer's error means: a refused or unconfirmed write may be on some disk all the same."""
    is_read = operation.kind == "get"
    return "failed" if is_read or error.type in _NEVER_BEGUN else "unknown"
