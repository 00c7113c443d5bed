"""Showing that a command waits: only when it takes long, only to a person, on standard error."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from node.cli.output import is_terminal

_SHOWN_AFTER_S: Final = 0.5
"""Answers usually come in milliseconds; what is over by then shows nothing."""

_PERIOD_S: Final = 0.2
_FRAMES: Final = "|/-\\"


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show ``what`` with a turning sign on a terminal while the block takes long; erase it afterwards.

    An interval timer, not a thread: it costs nothing when the answer comes at once.
    """
    if not is_terminal(sys.stderr) or not hasattr(signal, "setitimer"):
        yield
        return
    turns = 0
    descriptor = sys.stderr.fileno()

    def show(number: int, frame: Any) -> None:
        nonlocal turns
        os.write(descriptor, f"\r{what} {_FRAMES[turns % len(_FRAMES)]}".encode())
        turns += 1

    before = signal.signal(signal.SIGALRM, show)
    signal.setitimer(signal.ITIMER_REAL, _SHOWN_AFTER_S, _PERIOD_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if turns:
            os.write(descriptor, b"\r\x1b[K")


class StatusLine:
    """One line on standard error that changes in place; nothing unless a person looks at it."""

    def __init__(self) -> None:
        self._is_shown = is_terminal(sys.stderr)
        self._text = ""

    def show(self, text: str) -> None:
        """Replace the line; ``text`` is ours and shorter than a terminal is wide."""
        if self._is_shown and text != self._text:
            self._text = text
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def clear(self) -> None:
        """Erase the line. Idempotent."""
        if self._text:
            self._text = ""
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
