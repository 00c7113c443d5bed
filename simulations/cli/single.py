"""One run of ``pair simulate``: shown while it lasts, judged, reported."""

import contextlib
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from node.cli.failures import CommandFailed
from node.cli.output import counted, is_terminal, print_note
from node.cli.waiting import StatusLine
from simulations.cli.interrupting import Interruptible
from simulations.cli.plan import Plan
from simulations.cli.shrinking import broken_checks, save_shrunken
from simulations.cli.telling import interrupted, tell_verdict, verdict_failed
from simulations.record import Moment, RunRecord
from simulations.report.files import write_plots, write_report
from simulations.report.run import Run
from simulations.scenario import Scenario
from simulations.shrink import RUNS_MAX, shrunken
from simulations.simulation import Simulation
from simulations.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Wishes:
    """What is to be told of a run beside its verdict."""

    as_json: bool
    report: Path | None
    plots: Path | None
    shrinks: bool
    """Whether the schedule of a run that fails is made smaller, and saved."""

    live: bool = False
    """Whether real processes are run."""


def run_one(plan: Plan, seed: int, wishes: Wishes) -> None:
    """Play one seed and tell everything about it.

    Raises:
        CommandFailed: The verdict is FAIL, or somebody interrupted.
    """
    with Interruptible(waits_for_look=True) as interruptible:
        try:
            scenario = plan.scenario(seed)
            play = _played_live if wishes.live else _played
            verdict, record = play(scenario, seed, interruptible, as_json=wishes.as_json)
        except KeyboardInterrupt:
            raise interrupted("interrupted before anything could be told", next_step=plan.replay(seed)) from None
        verdict = msgspec.structs.replace(verdict, replay=plan.replay(seed))
        try:  # files first: who reads the verdict may leave before its end
            _write(Run(verdict, record), wishes)
        finally:
            tell_verdict(verdict, as_json=wishes.as_json)
        if interruptible.happened:
            raise _interrupted(verdict)
        if verdict.verdict == "FAIL":
            if wishes.shrinks:
                _shrink(scenario, verdict, interruptible)
            raise verdict_failed(verdict)


def _played(scenario: Scenario, seed: int, interruptible: Interruptible, *, as_json: bool) -> tuple[Verdict, RunRecord]:
    with contextlib.ExitStack() as stack:
        show = _shown(scenario, seed, stack, as_json=as_json)

        def on_moment(moment: Moment) -> None:
            interruptible.look()
            show(moment)

        simulation = Simulation(scenario, seed=seed, on_moment=on_moment)
        verdict = simulation.run()
    return verdict, simulation.record


def _played_live(
    scenario: Scenario, seed: int, interruptible: Interruptible, *, as_json: bool
) -> tuple[Verdict, RunRecord]:
    from simulations.live.live_run import LiveRun

    with contextlib.ExitStack() as stack:
        starting = StatusLine()
        starting.show(f"starting {counted(scenario.nodes, 'peer')}")
        stack.callback(starting.clear)
        shows: list[Callable[[Moment], None]] = []

        def on_moment(moment: Moment) -> None:
            if not shows:
                starting.clear()
                shows.append(_shown(scenario, seed, stack, as_json=as_json))
            shows[0](moment)

        run = LiveRun(scenario, seed=seed, on_moment=on_moment, is_over=lambda: interruptible.happened)
        verdict = run.run()
    return verdict, run.record


def _shown(scenario: Scenario, seed: int, stack: contextlib.ExitStack, *, as_json: bool) -> Callable[[Moment], None]:
    """Return what shows a moment: lanes to a person who waits for the verdict, else one line to who looks on."""
    if is_terminal(sys.stdout) and not as_json:
        from simulations.cli.live_view import LiveView

        return stack.enter_context(LiveView(scenario, seed=seed)).moment
    line = StatusLine()
    stack.callback(line.clear)
    return lambda moment: line.show(f"seed {seed}: {moment.at_s:.0f} of {scenario.duration_s:.0f} s, {moment.ok} ok")


def _write(run: Run, wishes: Wishes) -> None:
    if wishes.report is not None:
        write_report(run, wishes.report)
        print_note(f"report: {wishes.report}")
    if wishes.plots is not None:
        written = write_plots(run, wishes.plots)
        print_note(f"plots: {', '.join(str(path) for path in written)}")


def _shrink(scenario: Scenario, verdict: Verdict, interruptible: Interruptible) -> None:
    """Look for the smallest schedule with which the same check fails, and save it.

    Raises:
        CommandFailed: Somebody interrupted.
    """
    broken, line = broken_checks(verdict), StatusLine()
    runs = itertools.count(1)

    def fails(candidate: Scenario) -> bool:
        line.show(f"looking for the smallest schedule that fails: run {next(runs)} of at most {RUNS_MAX}")
        found = Simulation(candidate, seed=verdict.seed, on_moment=lambda moment: interruptible.look()).run()
        interruptible.look()
        return bool(broken & broken_checks(found))

    try:
        smallest = shrunken(scenario, fails)
    except KeyboardInterrupt:
        raise interrupted("interrupted while the schedule was made smaller", next_step=verdict.replay) from None
    finally:
        line.clear()
    save_shrunken(smallest, verdict.seed, faults_before=len(scenario.faults))


def _interrupted(verdict: Verdict) -> CommandFailed:
    seconds = verdict.figures.get("simulated_s", 0.0)
    kind = "simulated seconds" if verdict.trace_sha256 is not None else "seconds"
    return interrupted(f"interrupted after {seconds:.1f} {kind}", next_step=verdict.replay)
