"""What commands print: escaped text, plain tables, JSON, problems.

Every text that may come from another peer goes through ``escape`` before it reaches a terminal or a pipe
(DESIGN section 8). JSON is printed in ASCII, which needs no escaping. Results go to standard output, everything
else to standard error.
"""

import json
import os
import re
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any, Final

from node.cli.failures import CommandFailed

_COLOURS: Final = {
    "alive": "32", "running": "32", "ok": "32", "leader": "36",
    "suspect": "33", "paused": "33", "candidate": "33", "warning": "33",
    "failed": "31", "crashed": "31", "broken": "31",
}  # fmt: skip
"""Colour of a whole cell in a column of states, as a number of SGR (ECMA-48, section 8.3.117)."""

_COLOUR: Final = re.compile(r"(\x1b\[[0-79;]*m)")
"""A colour, for ``print_line``; no 8, which would hide text (ECMA-48, section 8.3.117)."""

_COLOURED_COLUMNS: Final = ("state", "role")


def escape(text: str, *, keep: str = "") -> str:
    """Replace each character of Unicode category C, and line and paragraph separators, by its escape.

    Args:
        text: Any text; a lone surrogate is escaped too.
        keep: Characters that stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if character in keep else _escaped(character) for character in text)


def print_line(text: str) -> None:
    """Print one line of a result, or several; whatever would move a cursor is escaped, colours stay."""
    pieces = _COLOUR.split(text)
    sys.stdout.write("".join(piece if index % 2 else escape(piece, keep="\n\t") for index, piece in enumerate(pieces)))
    sys.stdout.write("\n")


def counted(number: int, what: str) -> str:
    """Return ``number`` and the word for it, whose plural ends in s."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def print_json(document: Any) -> None:
    """Print one JSON document on one line, in ASCII, at once (a reader of a stream waits for it)."""
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def print_bytes(content: bytes) -> None:
    """Print exactly these bytes."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def print_note(text: str) -> None:
    """Tell a person something beside the result, escaped, on standard error."""
    sys.stderr.write(escape(text) + "\n")
    sys.stderr.flush()


def print_failure(failure: CommandFailed, *, as_json: bool) -> None:
    """Print why a command failed: two lines for a person, or one problem document."""
    if as_json:
        sys.stderr.write(json.dumps(failure.document()) + "\n")
    else:
        print_note(f"pair: {failure.detail}")
        if failure.next_step:
            print_note(f"  next: {failure.next_step}")
    sys.stderr.flush()


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns under their names; None shows as ``-``. Colours only on a terminal."""
    sys.stdout.write(table_text(columns, rows, coloured=is_terminal(sys.stdout) and "NO_COLOR" not in os.environ))


def table_text(columns: Sequence[str], rows: Sequence[Sequence[object]], *, coloured: bool) -> str:
    """Return what ``print_table`` prints."""
    cells = [list(columns)] + [[_cell(value) for value in row] for row in rows]
    widths = [max(_width(row[index]) for row in cells) for index in range(len(columns))]
    lines = []
    for number, row in enumerate(cells):
        padded = [cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)]
        if coloured:
            padded = [_painted(text, column, number) for text, column in zip(padded, columns, strict=True)]
        lines.append("  ".join(padded).rstrip() + "\n")
    return "".join(lines)


def is_terminal(stream: Any) -> bool:
    """Return whether a person looks at ``stream``."""
    return bool(stream is not None and stream.isatty())


def _escaped(character: str) -> str:
    category = unicodedata.category(character)
    if category[0] != "C" and category not in ("Zl", "Zp"):
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def _cell(value: object) -> str:
    return "-" if value is None else escape(str(value))


def _width(text: str) -> int:
    """Return the columns that a terminal needs (Unicode Standard Annex 11; marks that combine need none)."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def _painted(padded: str, column: str, row_number: int) -> str:
    if row_number == 0:
        return f"\x1b[1m{padded}\x1b[0m"
    colour = _COLOURS.get(padded.strip()) if column in _COLOURED_COLUMNS else None
    return f"\x1b[{colour}m{padded}\x1b[0m" if colour else padded
