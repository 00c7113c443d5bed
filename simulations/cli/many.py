"""``pair simulate --seeds A..B``: one line for each seed, in their order, as soon as it is known."""

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from node.cli.output import counted, is_terminal, print_line
from node.cli.waiting import waiting
from simulations.cli.interrupting import Interruptible
from simulations.cli.plan import Plan
from simulations.cli.shrinking import broken_checks, save_shrunken
from simulations.cli.telling import interrupted, sweep_failed, tell_seed
from simulations.one_job import Job
from simulations.sweep import Engine, dask_engine, local_engine, shrunk, sweep
from simulations.verdict import Verdict

SHRUNKEN_MAX: Final = 3
"""Failing seeds of one sweep whose schedules are made smaller: each costs many runs, and most fail alike."""


def run_many(plan: Plan, seeds: Sequence[int], *, engine: str | None, as_json: bool, shrinks: bool) -> None:
    """Play all seeds.

    Raises:
        CommandFailed: A verdict is FAIL, or somebody interrupted.
        EngineError: The engine is not there, or was lost.
    """
    verdicts: list[Verdict] = []
    failures: list[Verdict] = []
    with Interruptible() as interruptible:
        try:
            with _engine(engine) as running:
                with _progress(len(seeds)) as on_ended:
                    for verdict in _verdicts(plan, seeds, running, on_ended):
                        interruptible.look()
                        verdicts.append(verdict)
                        tell_seed(verdict, as_json=as_json)
                failures += [verdict for verdict in verdicts if verdict.verdict == "FAIL"]
                if shrinks:
                    _shrink(plan, failures[:SHRUNKEN_MAX], running)
        except KeyboardInterrupt:
            raise interrupted(
                f"interrupted after {len(verdicts)} of {counted(len(seeds), 'seed')}: {_summary(verdicts)}",
                next_step=f"the next seed is {seeds[len(verdicts)]}" if len(verdicts) < len(seeds) else "",
            ) from None
    if failures:
        raise sweep_failed(failures, count=len(seeds))
    if not as_json:
        print_line(f"{counted(len(verdicts), 'seed')}: all checks hold")


def _verdicts(plan: Plan, seeds: Sequence[int], engine: Engine, on_ended: Callable[[], None]) -> Iterator[Verdict]:
    jobs = (Job(plan.scenario(seed), seed) for seed in seeds)
    for job, verdict in sweep(jobs, engine, on_ended=on_ended):
        yield msgspec.structs.replace(verdict, replay=plan.replay(job.seed))


def _shrink(plan: Plan, failures: Sequence[Verdict], engine: Engine) -> None:
    """Look for the smallest schedules with which the same checks fail, all at once, and save them."""
    jobs = [Job(plan.scenario(verdict.seed), verdict.seed) for verdict in failures]
    searches = [
        engine.executor.submit(shrunk, job, broken_checks(verdict), engine.play)
        for job, verdict in zip(jobs, failures, strict=True)
    ]
    with waiting("looking for the smallest schedules that fail"):
        for job, search in zip(jobs, searches, strict=True):
            save_shrunken(search.result(), job.seed, faults_before=len(job.scenario.faults))


def _engine(address: str | None) -> contextlib.AbstractContextManager[Engine]:
    return local_engine() if address is None else dask_engine(address)


@contextlib.contextmanager
def _progress(count: int) -> Iterator[Callable[[], None]]:
    """Show how many seeds have ended, on standard error, where a person looks at it."""
    if not is_terminal(sys.stderr):
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    columns: tuple[Any, ...] = (
        "seeds", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "left", TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=Console(stderr=True), transient=True, redirect_stdout=is_terminal(sys.stdout)
    ) as progress:
        task = progress.add_task("seeds", total=count)
        yield lambda: progress.advance(task)


def _summary(verdicts: Sequence[Verdict]) -> str:
    failed = sum(verdict.verdict == "FAIL" for verdict in verdicts)
    return f"{len(verdicts) - failed} passed, {failed} failed"
