"""Ctrl-C and its relatives while something runs: it stops, what was seen so far is told, nothing is left behind."""

import signal
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptible:
    """While it is open, each signal that asks to end raises ``KeyboardInterrupt``, and is remembered."""

    def __init__(self) -> None:
        self.happened = False
        self._before: list[tuple[signal.Signals, Any]] = []

    def look(self) -> None:
        """Interrupt here, where an interrupt that came at a bad moment was swallowed.

        Raises:
            KeyboardInterrupt: Somebody has asked to end.
        """
        if self.happened:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self.happened = True
        raise KeyboardInterrupt

    def __enter__(self) -> Self:
        self._before = [(number, signal.signal(number, self._interrupt)) for number in _SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)
