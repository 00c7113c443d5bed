"""Waiting for a condition instead of sleeping: quick when it holds, and never longer than a deadline."""

import asyncio
import time
from collections.abc import Callable

DEADLINE_S = 15.0
"""Generous, because many tests share few cores; a test that needs it all has failed."""

PAUSE_S = 0.01


async def until(condition: Callable[[], object], *, deadline_s: float = DEADLINE_S) -> None:
    """Return once ``condition`` is true; raises ``TimeoutError`` after ``deadline_s``."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  (conditions of other processes have no event to wait for)
            await asyncio.sleep(PAUSE_S)


def until_blocking(condition: Callable[[], object], *, what: str, deadline_s: float = DEADLINE_S) -> None:
    """The same for tests of processes; ``what`` says in the failure what did not come."""
    ends = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < ends, f"{what}: not within {deadline_s:g} s"
        time.sleep(PAUSE_S)
