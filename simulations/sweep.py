"""Many seeds at once: on all cores of this machine, or on a Dask cluster; results in the order of the seeds.

What runs a seed gets the scenario as data and returns the verdict as data. A run is the same whichever process plays
it, and whatever that process has played before.
"""

import contextlib
import logging
import multiprocessing
import os
import re
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Final

from protocol.errors import ConfigError, EnvironmentFault
from simulations.one_job import Job, played, played_apart
from simulations.scenario import Scenario
from simulations.shrink import shrunken
from simulations.verdict import Verdict

AHEAD_PER_WORKER: Final = 8
"""Jobs given out before the oldest has come back: enough that one slow seed does not idle the others."""

CONNECT_TIMEOUT_S: Final = 10.0
_ADDRESS: Final = re.compile(r"(tcp|tls)://[^/\s]+:[0-9]{1,5}")
_ENDING_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class EngineError(EnvironmentFault):
    """The engine that is to run the seeds is not there, or was lost."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What runs jobs."""

    executor: Executor
    workers: int
    """Jobs that it runs at once."""

    play: Callable[[Job], Verdict] = played
    """What its workers do with a job."""


def sweep(
    jobs: Iterable[Job], engine: Engine, *, on_ended: Callable[[], None] = lambda: None
) -> Iterator[tuple[Job, Verdict]]:
    """Run all jobs and yield each with its verdict, in their order.

    Args:
        on_ended: Called from some thread each time a job has ended, in whatever order they do.

    Raises:
        EngineError: The engine was lost.
    """
    under_way: deque[tuple[Job, Future[Verdict]]] = deque()
    try:
        for job in jobs:
            under_way.append((job, _submitted(engine, job, on_ended)))
            if len(under_way) >= engine.workers * AHEAD_PER_WORKER:
                yield _next(under_way)
        while under_way:
            yield _next(under_way)
    finally:
        for _, future in under_way:
            future.cancel()


def shrunk(job: Job, broken: frozenset[str], play: Callable[[Job], Verdict]) -> Scenario:
    """Return the smallest scenario with which one of the ``broken`` checks fails for the same seed."""

    def fails(candidate: Scenario) -> bool:
        checks = play(Job(candidate, job.seed)).checks
        return any(not check.ok and check.name in broken for check in checks)

    return shrunken(job.scenario, fails)


@contextlib.contextmanager
def local_engine(workers: int | None = None) -> Iterator[Engine]:
    """Run jobs in processes of this machine, one for each core; none of them outlives the block.

    Args:
        workers: How many processes; None for one on each core that this process may use.
    """
    count = workers or _cores()
    before = multiprocessing.active_children()
    executor = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin_worker,  # no max_tasks_per_child: workers that end are not always replaced (cpython 115634)
    )
    try:
        with _signals_later():
            # All processes start now: an interrupt in the middle of such a start would leave half of one.
            for _ in range(count):
                executor.submit(_ready)
        yield Engine(executor, count)
    except BaseException:
        # What is left of the work is of no use to anybody: the processes end now, not when they are done.
        for child in multiprocessing.active_children():
            if child not in before:
                child.kill()
        executor.shutdown(cancel_futures=True)
        raise
    executor.shutdown()


@contextlib.contextmanager
def dask_engine(address: str) -> Iterator[Engine]:
    """Run jobs on the Dask cluster whose scheduler has this address; its workers need the same version of Pair.

    Raises:
        ConfigError: The address is none.
        EngineError: The extra ``sweep`` is not installed, or no scheduler answers, or it has no workers.
    """
    if not _ADDRESS.fullmatch(address):
        raise ConfigError(f"{address!r} is no address of a Dask scheduler", next_step="write tcp://HOST:PORT")
    try:
        import distributed
    except ImportError as error:
        raise EngineError(
            "sweeps on a cluster need Dask, which is not installed", next_step="pip install 'pair[sweep]'"
        ) from error
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what is lost, ``_next`` says, without a traceback
    try:
        client = distributed.Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise EngineError(
            f"no Dask scheduler answers at {address}: {' '.join(str(error).split()) or type(error).__name__}",
            next_step="start one: dask scheduler, and dask worker HOST:8786 where Pair is installed",
        ) from error
    try:
        workers = sum(client.nthreads().values())
        if not workers:
            raise EngineError(
                f"the Dask scheduler at {address} has no workers", next_step=f"dask worker {address} starts one"
            )
        yield Engine(client.get_executor(pure=False), workers, played_apart)
    finally:
        client.close(timeout=CONNECT_TIMEOUT_S)


def _submitted(engine: Engine, job: Job, on_ended: Callable[[], None]) -> "Future[Verdict]":
    future = engine.executor.submit(engine.play, job)
    future.add_done_callback(lambda done: on_ended())
    return future


def _next(under_way: "deque[tuple[Job, Future[Verdict]]]") -> tuple[Job, Verdict]:
    job, future = under_way.popleft()
    try:
        return job, future.result()
    except EnvironmentFault:
        raise
    except Exception as error:  # a run turns its own errors into a verdict: what comes here is the engine's
        raise EngineError(
            f"the run of seed {job.seed} was lost: {': '.join(filter(None, (type(error).__name__, str(error))))}",
            next_step="a process or the cluster may have been ended, or memory was short: try fewer --nodes",
        ) from error


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def _signals_later() -> Iterator[None]:
    """Let what asks this process to end wait until the block is over."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ready() -> None:
    """Do nothing, in a process that has started."""


def _begin_worker() -> None:
    """Leave Ctrl-C to the process that owns the sweep, and end with it whatever happens to it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING_SIGNALS)
    owner = multiprocessing.parent_process()
    assert owner is not None, "a worker is a child"

    def end_with_owner() -> None:
        owner.join()
        os._exit(1)

    threading.Thread(target=end_with_owner, daemon=True).start()
