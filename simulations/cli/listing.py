"""``pair simulate --list``: the catalogue, or the page of one scenario."""

import sys
from pathlib import Path
from typing import Final

from node.cli.output import is_terminal, print_json, print_line, print_table
from simulations.catalogue import SCENARIOS, CatalogueEntry
from simulations.cli.plan import unknown_scenario
from simulations.live.possible import runs_live

_SOURCE: Final = Path(__file__).resolve().parent.parent.parent
"""Pages are part of the source; an installed package has the summaries only."""


def tell_catalogue(*, as_json: bool) -> None:
    """Print the name and the summary of each scenario."""
    if as_json:
        print_json([_document(entry) for entry in SCENARIOS.values()])
        return
    rows = [[entry.name, "yes" if runs_live(entry) else "no", entry.summary] for entry in SCENARIOS.values()]
    print_table(["scenario", "live", "what happens"], rows)
    if is_terminal(sys.stdout):
        print_line("")
        print_line("pair simulate --list SCENARIO tells more of one; pair simulate SCENARIO plays it.")
        print_line("live: it can be played on real processes too, with --live.")


def tell_scenario(name: str, *, as_json: bool) -> None:
    """Print the page of one scenario; its summary where there is no page.

    Raises:
        CommandFailed: There is no such scenario.
    """
    if name not in SCENARIOS:
        raise unknown_scenario(name)
    entry = SCENARIOS[name]
    if as_json:
        print_json([_document(entry)])
        return
    page = _SOURCE / entry.page
    print_line(page.read_text(encoding="utf-8").rstrip() if page.is_file() else f"{entry.name}: {entry.summary}")


def _document(entry: CatalogueEntry) -> dict[str, str]:
    return {"name": entry.name, "summary": entry.summary}
