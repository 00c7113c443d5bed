"""Clock and entropy of simulated code: the module functions that it calls follow the current process.

Installed once around a run. The simulation's own code (no current process) gets the world's clock and entropy as well,
so nothing inside a run depends on the real ones.
"""

import contextlib
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

from simulations.world.clock import EPOCH_S
from simulations.world.loop import SimLoop
from simulations.world.process import current

_MODULE_RANDOM: Final = (
    "random", "uniform", "triangular", "randint", "choice", "randrange", "sample", "shuffle", "choices",
    "normalvariate", "lognormvariate", "expovariate", "vonmisesvariate", "gammavariate", "gauss", "betavariate",
    "paretovariate", "weibullvariate", "getrandbits", "randbytes",
)  # fmt: skip


class Entropy:
    """What ``random``, ``os.urandom`` and ``time`` answer with during a run."""

    def __init__(self, loop: SimLoop, *, seed: int) -> None:
        self._loop = loop
        self._own = random.Random(seed)
        self.steady_s: Final = loop.time
        """Stands for ``time.monotonic`` and its relatives."""

    def source(self) -> random.Random:
        """Return the random numbers of the current process, or the world's."""
        process = current.get()
        return self._own if process is None else process.random

    def bytes(self, size: int) -> bytes:
        """Stands for ``os.urandom``."""
        return self.source().randbytes(size)

    def wall_s(self) -> float:
        """Stands for ``time.time``."""
        process = current.get()
        if process is None:
            return EPOCH_S + self._loop.true_time
        return process.clock.wall(self._loop.true_time)


@contextlib.contextmanager
def installed(entropy: Entropy) -> Iterator[None]:
    """Let the standard library's clock and entropy be those of the world while the block runs."""
    with contextlib.ExitStack() as undo:

        def put(module: Any, name: str, value: Any) -> None:
            undo.callback(setattr, module, name, getattr(module, name))
            setattr(module, name, value)

        for name in _MODULE_RANDOM:
            put(random, name, _following(entropy, name))
        put(random, "_urandom", entropy.bytes)
        put(os, "urandom", entropy.bytes)
        put(uuid, "uuid4", lambda: uuid.UUID(bytes=entropy.bytes(16), version=4))
        wall_s, steady_s = entropy.wall_s, entropy.steady_s
        put(time, "time", wall_s)
        put(time, "time_ns", lambda: int(wall_s() * 1e9))
        put(time, "monotonic", steady_s)
        put(time, "monotonic_ns", lambda: int(steady_s() * 1e9))
        put(time, "perf_counter", steady_s)
        put(time, "clock_gettime", lambda clock: steady_s())
        yield


def _following(entropy: Entropy, name: str) -> Callable[..., Any]:
    def call(*args: Any, **named: Any) -> Any:
        return getattr(entropy.source(), name)(*args, **named)

    return call
