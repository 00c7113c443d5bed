"""Ctrl-C as a wish that a command looks at when it can, instead of an exception in the middle of something."""

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While it is open, the first signal that asks to end is remembered; a second one interrupts at once."""

    def __init__(self) -> None:
        self.happened = False
        self._reading, self._writing = os.pipe()
        self._before: list[tuple[signal.Signals, Any]] = []

    def wait(self, seconds: float) -> bool:
        """Wait until somebody asks to end, at most so long; return whether somebody has."""
        if not self.happened:
            select.select([self._reading], [], [], max(0.0, seconds))
        return self.happened

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.happened:
            raise KeyboardInterrupt
        self.happened = True
        os.write(self._writing, b"!")

    def __enter__(self) -> Self:
        self._before = [(number, signal.signal(number, self._note)) for number in _SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)
        os.close(self._reading)
        os.close(self._writing)
