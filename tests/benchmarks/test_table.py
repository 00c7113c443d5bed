"""The table is honest: what falls short says so, what broke says so, what cannot be compared is not."""

import io
from typing import Any

import pytest
from rich.console import Console

from benchmarks.results import Comparison, Outcome, RowResult
from benchmarks.table import ahead, document, print_table, verdict_of

BROKEN = RowResult("get", "get", "≤ 1 ms", "≤ 0.3 ms", None, "no peer answered")


def result(**changes: Any) -> RowResult:
    fields: dict[str, Any] = {"measured": "0.5 ms", "must": True, "goal": False, "lead": 0.5, **changes}
    return RowResult("get", "get", "≤ 1 ms", "≤ 0.3 ms", Outcome(**fields))


def other(lead: float | None) -> Comparison:
    return Comparison(system="else", row="get", measured="0.9 ms", lead=lead, notes=("differs",))


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (result(must=True, goal=True), "goal"),
        (result(must=True, goal=None), "goal"),
        (result(must=True, goal=False), "must"),
        (result(must=False, goal=False), "short"),
        (result(must=False, goal=True), "short"),
        (BROKEN, "failed"),
    ],
)
def test_the_verdict_follows_from_must_and_goal(row: RowResult, verdict: str) -> None:
    """A goal without its must is worth nothing."""
    assert verdict_of(row) == verdict


@pytest.mark.parametrize(
    ("row", "lead", "words"),
    [
        (result(lead=0.5), 0.9, "Pair is ahead"),
        (result(lead=0.9), 0.5, "Pair is BEHIND"),
        (result(lead=0.0), 0.0, "equal"),
        (result(lead=0.5), None, "shown"),
        (result(lead=None), 0.5, "shown"),
        (BROKEN, 0.5, "shown"),
    ],
)
def test_only_figures_of_the_same_kind_are_compared(row: RowResult, lead: float | None, words: str) -> None:
    """Lower is better; without a figure on both sides there is nobody ahead."""
    assert ahead(row, other(lead)) == words


def test_the_printed_table_names_machine_seed_failures_and_notes() -> None:
    """What is needed to believe a figure stands beside it."""
    output = io.StringIO()
    console = Console(file=output, width=200)

    print_table(console, machine="2 cores", seed=7, results=[result(), BROKEN], comparisons=[other(0.9)])

    text = output.getvalue()
    for part in ("machine: 2 cores", "seed: 7", "NOT MEASURED", "no peer answered", "else: differs", "goal not"):
        assert part in text
    assert "ahead in 2 of 2" not in text


def test_the_document_has_every_row_with_what_stands_beside_it() -> None:
    """``--json`` tells the same."""
    everything = document(
        machine={"cores": 2}, seed=7, smoke=True, results=[result(), BROKEN], comparisons=[other(0.9)]
    )

    assert [row["verdict"] for row in everything["rows"]] == ["must", "failed"]
    assert everything["rows"][0]["beside"][0]["ahead"] == "Pair is ahead"
    assert everything["rows"][1]["failure"] == "no peer answered"
