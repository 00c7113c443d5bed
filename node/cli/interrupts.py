"""Ctrl-C as a wish that a command looks at when it can, and waits that end at once on Ctrl-C.

Python looks for signals between its own steps and when a signal breaks a wait off. One that comes after the last
look and before the system begins to wait would be seen only when that wait ends by itself: it must not last long.
"""

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

_LOOK_PERIOD_S: Final = 0.25

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Break off long waits every quarter of a second for a look at signals; they go on when there was none."""
    if not hasattr(signal, "setitimer"):
        yield
        return
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, _LOOK_PERIOD_S, _LOOK_PERIOD_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Interrupts:
    """While it is open, the first signal that asks to end is remembered; a second one interrupts at once."""

    def __init__(self) -> None:
        self.happened = False
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._woken_before = -1
        self._before: list[tuple[signal.Signals, Any]] = []

    def wait(self, seconds: float) -> bool:
        """Wait until somebody asks to end, at most so long; return whether somebody has."""
        if not self.happened and select.select([self._reading], [], [], max(0.0, seconds))[0]:
            os.read(self._reading, select.PIPE_BUF)  # another signal that Python handles may have written too
        return self.happened

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.happened:
            raise KeyboardInterrupt
        self.happened = True

    def __enter__(self) -> Self:
        # Written to by the system's part of a signal handler, so that no wait begins without it.
        self._woken_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._before = [(number, signal.signal(number, self._note)) for number in _SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._woken_before)
        os.close(self._reading)
        os.close(self._writing)
