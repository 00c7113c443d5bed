"""Sweeps: the same verdicts as single runs, in the order of the seeds, and nothing left when they end early."""

import concurrent.futures
import multiprocessing
import os
from collections.abc import Iterator
from typing import cast

import msgspec
import pytest

from protocol.errors import ConfigError
from simulations import sweep as sweeps
from simulations.one_job import Job, played, played_apart
from simulations.sweep import Engine, EngineError, dask_engine, local_engine, sweep
from simulations.verdict import Verdict
from tests.simulations.small_runs import SMALL, verdict

JOBS = [Job(SMALL, seed) for seed in range(1, 6)]


class Backwards(concurrent.futures.Executor):
    """Ends what it was given last first, as soon as somebody waits for all."""

    def __init__(self) -> None:
        self.given: list[tuple[Job, concurrent.futures.Future[Verdict]]] = []

    def submit(self, fn, /, job, **named):  # type: ignore[no-untyped-def]
        future: concurrent.futures.Future[Verdict] = concurrent.futures.Future()
        self.given.append((job, future))
        if len(self.given) == len(JOBS):
            for given, waiting in reversed(self.given):
                waiting.set_result(msgspec.structs.replace(verdict(), seed=given.seed))
        return future


def test_a_sweep_gives_what_single_runs_give() -> None:
    """Same trace, whichever process plays it, and whatever it played before."""
    alone = {job.seed: played(job) for job in JOBS[:3]}

    with local_engine(2) as engine:
        together = {job.seed: verdict for job, verdict in sweep(JOBS[:3], engine)}

    assert list(together) == [1, 2, 3]
    assert together == alone


@pytest.mark.processes
def test_a_long_sweep_comes_to_its_end() -> None:
    """Workers that were to end after a hundred runs were not replaced, and a sweep of 200 seeds hung for ever."""
    with local_engine(1) as engine:
        runs = [engine.executor.submit(os.getpid) for _ in range(300)]
        _, waiting = concurrent.futures.wait(runs, timeout=60)
        for run in waiting:
            run.cancel()

    assert not waiting


@pytest.mark.processes
def test_a_run_apart_is_the_same_run() -> None:
    """A worker of a cluster cannot lend its own clock and entropy."""
    assert played_apart(JOBS[0]) == played(JOBS[0])


def test_a_run_apart_that_gives_no_verdict_says_why() -> None:
    """With the words of its process."""
    with pytest.raises(RuntimeError, match="ValidationError"):
        played_apart(cast(Job, {"scenario": {"name": ""}, "seed": 1}))


def test_results_come_in_the_order_of_the_seeds() -> None:
    """Whatever ends first; each end is counted."""
    ended: list[None] = []

    found = list(sweep(JOBS, Engine(Backwards(), 2), on_ended=lambda: ended.append(None)))

    assert [job.seed for job, _ in found] == [verdict.seed for _, verdict in found] == [1, 2, 3, 4, 5]
    assert len(ended) == len(JOBS)


def test_no_more_jobs_are_given_out_than_can_be_used() -> None:
    """A million seeds must not lie in memory at once."""
    asked: list[int] = []

    def jobs() -> Iterator[Job]:
        for seed in range(10_000):
            asked.append(seed)
            yield Job(SMALL, seed)

    class Idle(concurrent.futures.ThreadPoolExecutor):
        def submit(self, fn, /, job, **named):  # type: ignore[no-untyped-def]
            return super().submit(verdict)

    with Idle(1) as executor:
        results = sweep(jobs(), Engine(executor, 2))
        next(results)
        results.close()  # type: ignore[attr-defined]

    assert len(asked) == 2 * sweeps.AHEAD_PER_WORKER


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (concurrent.futures.BrokenExecutor("a process died"), "BrokenExecutor: a process died"),
        (concurrent.futures.CancelledError(), "CancelledError"),
    ],
    ids=["process", "cluster"],
)
def test_a_lost_worker_ends_the_sweep_with_its_seed(error: Exception, told: str) -> None:
    """What killed it cannot be known; the seed can."""
    lost: concurrent.futures.Future[Verdict] = concurrent.futures.Future()
    lost.set_exception(error)

    class Broken(concurrent.futures.Executor):
        def submit(self, fn, /, job, **named):  # type: ignore[no-untyped-def]
            return lost

    with pytest.raises(EngineError, match=f"^the run of seed 1 was lost: {told}$"):
        list(sweep(JOBS, Engine(Broken(), 1)))


@pytest.mark.processes
def test_an_interrupt_ends_the_workers_at_once() -> None:
    """They do not finish what they began."""
    long = Job(msgspec.structs.replace(SMALL, duration_s=80_000.0), 1)
    before = multiprocessing.active_children()

    with pytest.raises(KeyboardInterrupt), local_engine(1) as engine:
        future = engine.executor.submit(played, long)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(timeout=0.2)
        raise KeyboardInterrupt

    assert multiprocessing.active_children() == before


def test_a_cluster_that_is_not_there_says_so() -> None:
    """Also when Dask itself is not."""
    with pytest.raises(EngineError, match="Dask") as failure, dask_engine("tcp://127.0.0.1:1"):
        pass

    assert failure.value.next_step


@pytest.mark.parametrize("address", ["", "nonsense://127.0.0.1:1", "127.0.0.1:8786", "tcp://host", "tcp://a b:1"])
def test_what_is_no_address_is_not_tried(address: str) -> None:
    """Wrong use, whether Dask is installed or not."""
    with pytest.raises(ConfigError, match="is no address"), dask_engine(address):
        pass
