"""An event loop whose clock jumps to the next timer: seconds of waiting cost nothing, and runs repeat exactly."""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop with no sockets to wait for; when nothing is ready, time moves to the next timer."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now_s


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[valid-type, misc]  # its base is chosen at run time
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "nothing is left that could happen: the test waits for ever"
            self._loop.now_s += timeout
        return ready


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Turn an async test into one that runs on a virtual loop."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(test(**fixtures))

    return run


async def until(condition: Callable[[], object], *, within_s: float) -> float:
    """Return the virtual seconds until ``condition`` holds; fail when it does not within ``within_s``."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    while not condition():
        assert loop.time() < started + within_s, f"not within {within_s:g} s"
        await asyncio.sleep(0.001)
    return loop.time() - started
