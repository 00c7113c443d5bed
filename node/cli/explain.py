"""``--explain``: who served an answer, who was asked, what they held, how long it took."""

import json
import sys
from typing import Any

from node.api_client import Answer
from node.cli.output import print_note, table_text


def explain_in(answer: Answer) -> dict[str, Any]:
    """Return the explanation that came with ``answer``; an empty one when the peer gave none."""
    try:
        document = json.loads(answer.headers.get("pair-explain", ""))
    except ValueError:
        document = {}
    if not isinstance(document, dict):
        document = {}
    return {"served_by": None, "holders": [], "asked": [], **document}


def with_server(document: dict[str, Any], *, served_by: str | None) -> dict[str, Any]:
    """Return ``document`` with the explanation of an answer that the asked peer gave from its own memory."""
    return {**document, "explain": {"served_by": served_by, "holders": [], "asked": []}}


def print_explain(explain: dict[str, Any]) -> None:
    """Print an explanation for a person, on standard error: standard output holds the value alone."""
    print_note(f"served by {_short(explain['served_by'])}; holders: {_names(explain)}")
    rows = [
        [row.get("name"), _short(row.get("id")), row.get("answer"), row.get("version"), f"{row.get('ms', 0.0):.1f}"]
        for row in explain["asked"]
    ]
    if rows:
        sys.stderr.write(table_text(["asked", "id", "answer", "version", "ms"], rows, coloured=False))


def _names(explain: dict[str, Any]) -> str:
    names = {row.get("id"): row.get("name") for row in explain["asked"]}
    return ", ".join(str(names.get(id) or _short(id)) for id in explain["holders"]) or "none"


def _short(id: object) -> str:
    return "-" if id is None else str(id)[:12]
