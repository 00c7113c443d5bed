"""Small worlds for tests: hosts, a network and a loop that is closed afterwards."""

import contextlib
import gc
from collections.abc import Coroutine, Iterator
from typing import Any

from simulations.world.entropy import Entropy, installed
from simulations.world.loop import SimLoop
from simulations.world.network import Network
from simulations.world.process import Host


class World:
    """A loop, a network and ``count`` hosts at one place."""

    def __init__(self, count: int, *, seed: int = 1) -> None:
        self.loop = SimLoop(seed=seed)
        self.network = Network(self.loop, seed=seed)
        self.hosts = [
            Host(self.loop, name=f"host-{i}", address=f"10.0.{i // 250}.{i % 250 + 1}", place=(0.0, 0.0), seed=seed + i)
            for i in range(count)
        ]
        for host in self.hosts:
            self.network.add(host)

    def run(self, program: Coroutine[Any, Any, Any], *, limit_s: float = 3600.0) -> Any:
        """Run the simulation's own ``program`` to its end, at most ``limit_s`` of virtual time."""

        def too_late() -> None:
            raise AssertionError(f"not done after {limit_s} s of virtual time")

        self.loop.at(self.loop.true_time + limit_s, too_late)
        return self.loop.run_until_complete(program)


@contextlib.contextmanager
def world(count: int, *, seed: int = 1) -> Iterator[World]:
    """Give a world with its clock and entropy in place of the real ones."""
    made = World(count, seed=seed)
    with installed(Entropy(made.loop, seed=seed)):
        yield made
    assert made.loop.failures == []
    for host in made.hosts:
        host.kill()
    made.loop.close()
    gc.collect()
