"""Processes and the hosts they run on.

``current`` names the process whose code runs. It is a context variable, so tasks, callbacks and everything that they
start belong to the right process by themselves.
"""

import asyncio
import contextvars
import enum
import random
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, Protocol

from simulations.world.clock import HostClock

if TYPE_CHECKING:
    from simulations.world.loop import SimLoop

current: Final[contextvars.ContextVar["Process | None"]] = contextvars.ContextVar("pair_process", default=None)
"""The process whose code runs; None for the simulation's own."""

_TASKS_MIN: Final = 64


class State(enum.Enum):
    """What a process does."""

    RUNNING = "running"
    PAUSED = "paused"
    DEAD = "dead"


RUNNING: Final = State.RUNNING
"""Asked for with every event, and Python 3.11 takes long to look a member up in its class."""


class Resource(Protocol):
    """Something of a process that its end must end as well: a socket."""

    def process_ended(self, *, power_lost: bool) -> None:
        """The process is gone; with ``power_lost`` nobody else can be told."""

    def process_resumed(self) -> None:
        """The process runs again after a pause: take what waited."""


class Process:
    """One run of a program on a host, with its own entropy.

    A crash runs no ``finally``: handles of a dead process wait in vain, and its pending tasks are kept until the end
    of the world, since a collected coroutine would run its ``finally`` at a moment of the collector's choice.
    """

    __slots__ = ("_keep_at", "backlog", "clock", "context", "host", "random", "resources", "serial", "state", "tasks")

    def __init__(self, host: "Host", *, serial: int, seed: int) -> None:
        self.host = host
        self.clock = host.clock
        self.serial = serial
        self.state = State.RUNNING
        self.random = random.Random(seed)
        self.context = contextvars.copy_context()
        self.context.run(current.set, self)
        self.tasks: list[asyncio.Task[Any]] = []
        self._keep_at = _TASKS_MIN
        self.backlog: deque[asyncio.Handle] = deque()
        """What became due while paused, or after the end, in order."""
        self.resources: dict[Resource, None] = {}

    def run(self, callback: Callable[..., object], *args: Any) -> None:
        """Call ``callback`` as code of this process."""
        if current.get() is self:
            callback(*args)  # a context cannot be entered twice
        else:
            self.context.run(callback, *args)

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a reference to ``task`` for as long as it is pending."""
        self.tasks.append(task)
        if len(self.tasks) > self._keep_at:
            self.tasks = [kept for kept in self.tasks if not kept.done()]
            self._keep_at = max(_TASKS_MIN, 2 * len(self.tasks))


class Host:
    """A machine: an address, a place, clocks, and at most one process at a time."""

    def __init__(self, loop: "SimLoop", *, name: str, address: str, place: tuple[float, float], seed: int) -> None:
        """Make a host.

        Args:
            address: IPv4 address, for example 10.0.0.1.
            place: Coordinates; the distance between two hosts is their latency in seconds.
            seed: What the entropy of its processes is drawn from.
        """
        self.name: Final = name
        self.address: Final = address
        self.place: Final = place
        self.label: Final = f"{name} ".encode()
        """What names the host in a trace."""
        self.clock: Final = HostClock()
        self.process: Process | None = None
        self.runs: list[Process] = []
        """All processes so far, the present one last."""
        self.is_dark = False
        """Whether the machine is without power: it refuses nothing, it is just not there."""
        self._loop = loop
        self._seeds = random.Random(seed)

    @property
    def is_running(self) -> bool:
        """Whether a process runs and is not paused."""
        return self.process is not None and self.process.state is RUNNING

    def start(self, program: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run ``program`` as this host's process and return its task."""
        assert self.process is None or self.process.state is State.DEAD, f"{self.name} runs already"
        self.is_dark = False
        self.process = Process(self, serial=len(self.runs) + 1, seed=self._seeds.getrandbits(64))
        self.runs.append(self.process)
        return self.process.context.run(self._loop.create_task, program)

    def kill(self) -> None:
        """End the process at once, as SIGKILL does: the kernel closes its sockets, so others hear of it."""
        self._end(power_lost=False)

    def cut_power(self) -> None:
        """End the process at once, and tell nobody: connections of others stay open until they notice."""
        self.is_dark = True
        self._end(power_lost=True)

    def pause(self) -> None:
        """Freeze the process, as SIGSTOP does."""
        if self.process is not None and self.process.state is RUNNING:
            self.process.state = State.PAUSED

    def resume(self) -> None:
        """Let a frozen process go on; what became due meanwhile runs first, in order."""
        process = self.process
        if process is None or process.state is not State.PAUSED:
            return
        process.state = State.RUNNING
        self._loop.run_backlog(process)
        for resource in list(process.resources):
            resource.process_resumed()

    def set_rate(self, rate: float) -> None:
        """Let this host's clocks run at another rate from now on."""
        self.clock.set_rate(rate, now=self._loop.true_time)

    def _end(self, *, power_lost: bool) -> None:
        process = self.process
        if process is None or process.state is State.DEAD:
            return
        process.state = State.DEAD
        for resource in list(process.resources):
            resource.process_ended(power_lost=power_lost)
        process.resources.clear()
