"""``python3 run.py bench``: measure, print the table, and leave nothing running."""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import uvloop
from rich.console import Console

from benchmarks.bench import Bench
from benchmarks.beside import SYSTEMS
from benchmarks.machine import machine, machine_text
from benchmarks.results import Comparison, RowResult
from benchmarks.rows import ROWS, Row
from benchmarks.table import document, print_table

EXIT_BROKEN: Final = 1
"""A row could not be measured. A row that falls short is a result, not a failure."""

EXIT_INTERRUPTED: Final = 130
WIDTH_MIN: Final = 140


def main(arguments: list[str] | None = None) -> int:
    """Measure what was asked for and return the exit code."""
    keys, names = [row.key for row in ROWS], [system.name for system in SYSTEMS]
    parser = argparse.ArgumentParser(prog="run.py bench", description="Measure Pair, and other systems beside it.")
    parser.add_argument("--only", nargs="+", metavar="ROW", choices=keys, default=keys, help=f"of: {', '.join(keys)}")
    parser.add_argument("--smoke", action="store_true", help="few peers, few repetitions: does everything work?")
    parser.add_argument("--seed", type=int, help="random by default; printed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there as well")
    parser.add_argument(
        "--others", nargs="*", metavar="NAME", choices=names, default=names, help=f"beside it, of: {', '.join(names)}"
    )
    options = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(2**32) if options.seed is None else options.seed
    # A terminated run must end what it started, like one that was interrupted.
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    with tempfile.TemporaryDirectory(prefix="pair-bench-", ignore_cleanup_errors=True) as folder:
        bench = Bench(seed=seed, smoke=options.smoke, folder=Path(folder), only=frozenset(options.only))
        facts = machine(bench.folder)
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                results, comparisons = runner.run(measure(bench, others=options.others))
        except KeyboardInterrupt:
            print("interrupted; everything that was started has been ended", file=sys.stderr)
            return EXIT_INTERRUPTED
    console = Console(width=None if sys.stdout.isatty() else WIDTH_MIN)
    if bench.smoke:
        console.print("a smoke run: it shows that everything works, and its figures mean nothing", highlight=False)
    print_table(console, machine=machine_text(facts), seed=seed, results=results, comparisons=comparisons)
    if options.json is not None:
        everything = document(
            machine=facts, seed=seed, smoke=options.smoke, results=results, comparisons=comparisons
        )
        options.json.write_text(json.dumps(everything, indent=2) + "\n")
    return EXIT_BROKEN if any(result.outcome is None for result in results) else 0


async def measure(bench: Bench, *, others: Sequence[str]) -> tuple[list[RowResult], list[Comparison]]:
    """Measure the wanted rows one after the other, then the other systems."""
    results = [await _measure_row(bench, row) for row in ROWS if row.key in bench.only]
    comparisons: list[Comparison] = []
    for system in SYSTEMS:
        rows = bench.wants(system.rows)
        if rows and system.name in others:
            print(f"beside: {system.title}", file=sys.stderr, flush=True)
            comparisons += await system.compare(bench, rows)
    return results, comparisons


async def _measure_row(bench: Bench, row: Row) -> RowResult:
    """Measure one row; whatever goes wrong is its result, and the next row is measured all the same."""
    print(f"{row.key}: {row.what}", file=sys.stderr, flush=True)
    try:
        outcome = await row.measure(bench)
    except Exception as error:
        failure = "; ".join(str(part) or repr(part) for part in _parts(error))
        bench.say(f"not measured: {failure}")
        return RowResult(row.key, row.what, row.must, row.goal, None, failure)
    bench.say(outcome.measured)
    return RowResult(row.key, row.what, row.must, row.goal, outcome)


def _parts(error: Exception) -> list[Exception]:
    if isinstance(error, ExceptionGroup):
        return [part for inner in error.exceptions for part in _parts(inner)]
    return [error]


if __name__ == "__main__":
    sys.exit(main())
