"""Ctrl-C and its relatives while something runs: it stops, what was seen so far is told, nothing is left behind."""

import signal
from types import FrameType, TracebackType
from typing import Any, Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interruptible:
    """While it is open, a signal that asks to end raises ``KeyboardInterrupt``, and is remembered.

    Args:
        waits_for_look: The first signal raises only in ``look``, where nothing is cut off in the middle; the second
            one raises at once.
    """

    def __init__(self, *, waits_for_look: bool = False) -> None:
        self.happened = False
        self._waits_for_look = waits_for_look
        self._before: list[tuple[signal.Signals, Any]] = []

    def look(self) -> None:
        """Interrupt here, if somebody has asked for it.

        Raises:
            KeyboardInterrupt: Somebody has asked to end.
        """
        if self.happened:
            raise KeyboardInterrupt

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        is_first, self.happened = not self.happened, True
        if not (is_first and self._waits_for_look):
            raise KeyboardInterrupt

    def __enter__(self) -> Self:
        self._before = [(number, signal.signal(number, self._interrupt)) for number in _SIGNALS]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for number, handler in self._before:
            signal.signal(number, handler)
