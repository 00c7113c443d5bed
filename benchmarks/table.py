"""The table: what must be reached, what was measured, and how others did in the same run."""

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks.results import Comparison, RowResult, Verdict

_WORDS: Final[dict[Verdict, str]] = {
    "goal": "goal reached",
    "must": "must reached, goal not",
    "short": "FALLS SHORT",
    "shown": "shown",
    "failed": "NOT MEASURED",
}


def print_table(
    console: Console, *, machine: str, seed: int, results: Sequence[RowResult], comparisons: Sequence[Comparison]
) -> None:
    """Print machine, seed, table, notes, and who is ahead where."""
    console.print(f"machine: {machine}", highlight=False, markup=False)
    console.print(f"seed: {seed}", highlight=False, markup=False)
    table = Table(show_lines=True)
    for column in ("what", "must", "goal", "measured", "verdict"):
        table.add_column(column, overflow="fold")
    for result in results:
        measured = result.outcome.measured if result.outcome else result.failure
        table.add_row(
            result.what, result.must, result.goal, measured, _WORDS[verdict_of(result)], end_section=True
        )
        for other in beside(comparisons, result.key):
            table.add_row(f"  beside it: {other.system}", "", "", other.measured, ahead(result, other))
    console.print(table, markup=False)
    for result in results:
        for note in _notes(result, comparisons):
            console.print(f"{result.key}: {note}", highlight=False, markup=False)
    console.print(_score(results, comparisons), highlight=False, markup=False)


def verdict_of(result: RowResult) -> Verdict:
    """Return the verdict of a row that may have broken."""
    return result.outcome.verdict if result.outcome else "failed"


def beside(comparisons: Sequence[Comparison], key: str) -> list[Comparison]:
    """Return what stands beside one row."""
    return [comparison for comparison in comparisons if comparison.row == key]


def ahead(result: RowResult, other: Comparison) -> str:
    """Return who is ahead, if the two can be compared."""
    lead = result.outcome.lead if result.outcome else None
    if lead is None or other.lead is None:
        return "shown"
    if lead == other.lead:
        return "equal"
    return "Pair is ahead" if lead < other.lead else "Pair is BEHIND"


def document(
    *,
    machine: dict[str, Any],
    seed: int,
    smoke: bool,
    results: Sequence[RowResult],
    comparisons: Sequence[Comparison],
) -> dict[str, Any]:
    """Return everything for ``--json``."""
    return {
        "machine": machine,
        "seed": seed,
        "smoke": smoke,
        "rows": [
            {
                **result.document(),
                "beside": [
                    {
                        "system": other.system,
                        "measured": other.measured,
                        "ahead": ahead(result, other),
                        "notes": list(other.notes),
                        "figures": other.figures,
                    }
                    for other in beside(comparisons, result.key)
                ],
            }
            for result in results
        ],
    }


def _notes(result: RowResult, comparisons: Sequence[Comparison]) -> list[str]:
    own = list(result.outcome.notes) if result.outcome else []
    return own + [f"{other.system}: {note}" for other in beside(comparisons, result.key) for note in other.notes]


def _score(results: Sequence[RowResult], comparisons: Sequence[Comparison]) -> str:
    by_key = {result.key: result for result in results}
    words = [ahead(by_key[other.row], other) for other in comparisons if other.row in by_key]
    compared = [word for word in words if word != "shown"]
    return f"beside other systems: ahead in {compared.count('Pair is ahead')} of {len(compared)} comparable figures"
