"""What a run, a sweep and the catalogue say on standard output."""

import os
import sys
import textwrap
from collections.abc import Sequence

import msgspec

from node.cli.failures import CommandFailed, failed
from node.cli.output import escape, is_terminal, print_json, print_line, print_table
from simulations.record import RunRecord
from simulations.report.figures import figure_name, figure_text
from simulations.scenario import Scenario
from simulations.verdict import Verdict

EXIT_INTERRUPTED = 130
_SEEDS_NAMED = 5
_TEXT_WIDTH = 100


def tell_verdict(verdict: Verdict, *, as_json: bool) -> None:
    """Print what a run came to."""
    if as_json:
        print_json(msgspec.to_builtins(verdict))
        return
    words = f"{escape(verdict.scenario)}: {verdict.verdict}"
    colour = "32" if verdict.verdict == "PASS" else "31"
    print_line(f"{_painted(words, '1;' + colour)}  ({verdict.nodes} peers, seed {verdict.seed})")
    print_line("")
    rows = [[check.name, "ok" if check.ok else "broken", check.detail] for check in verdict.checks]
    print_table(["check", "state", "detail"], rows)
    print_line("")
    is_live = verdict.trace_sha256 is None
    print_table(
        ["figure", "value"],
        [[figure_name(key, is_live=is_live), figure_text(key, value)] for key, value in verdict.figures.items()],
    )
    print_line("")
    if verdict.not_judged:
        for line in textwrap.wrap(f"not judged: {', '.join(verdict.not_judged)}", _TEXT_WIDTH):
            print_line(line)
        print_line("")
    if not is_live:
        print_line(f"trace   {verdict.trace_sha256}")
    print_line(f"replay  {escape(verdict.replay)}")


def tell_seed(verdict: Verdict, *, as_json: bool) -> None:
    """Print one line of a sweep."""
    if as_json:
        print_json(msgspec.to_builtins(verdict))
        return
    figures = verdict.figures
    broken = [check.name for check in verdict.checks if not check.ok]
    told = ", ".join(broken) if broken else "all checks hold"
    colour = "32" if verdict.verdict == "PASS" else "31"
    counts = "  ".join(
        f"{figures.get(f'operations_{outcome}', 0):.0f} {outcome}" for outcome in ("ok", "failed", "unknown")
    )
    print_line(f"seed {verdict.seed:<10} {_painted(verdict.verdict, colour)}  {counts}  {escape(told)}")
    sys.stdout.flush()


def tell_schedule(scenario: Scenario, record: RunRecord) -> None:
    """Print what was done to the network, when and to whom."""
    rows = [[f"{applied.began_s:.1f}", applied.text] for applied in record.applied]
    print_line(f"{escape(scenario.name)}: what was done")
    print_table(["second", "fault"], rows)


def verdict_failed(verdict: Verdict) -> CommandFailed:
    """Return the failure of a run whose verdict is FAIL."""
    broken = [f"{check.name} ({check.detail})" for check in verdict.checks if not check.ok]
    return failed(f"{verdict.scenario} with seed {verdict.seed}: FAIL: {'; '.join(broken)}", next_step=verdict.replay)


def sweep_failed(verdicts: Sequence[Verdict], *, count: int) -> CommandFailed:
    """Return the failure of a sweep; ``verdicts`` are those that are FAIL."""
    seeds = ", ".join(str(verdict.seed) for verdict in verdicts[:_SEEDS_NAMED])
    more = f" and {len(verdicts) - _SEEDS_NAMED} more" if len(verdicts) > _SEEDS_NAMED else ""
    return failed(f"{len(verdicts)} of {count} seeds failed: {seeds}{more}", next_step=verdicts[0].replay)


def interrupted(what: str, *, next_step: str) -> CommandFailed:
    """Return the failure of what somebody ended early."""
    return CommandFailed(
        what, exit_code=EXIT_INTERRUPTED, type="interrupted", status=500, title="Interrupted", next_step=next_step
    )


def _painted(text: str, colour: str) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if is_terminal(sys.stdout) and "NO_COLOR" not in os.environ else text
