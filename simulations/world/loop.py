"""An asyncio event loop on virtual time.

Time stands still while anything runs, and jumps to the next event when nothing is left to do. The loop is
single-threaded and has no file descriptors; what needs the network is handed to ``Network``.

A real loop reads several ready sockets in one turn and interleaves what they set off. To explore such orders, now and
then all events of a small window are released together.
"""

# mypy: disable-error-code="override, attr-defined"
# The loop's own workings are private in typeshed, and generic in ways that a simulated loop needs not repeat.

import asyncio
import heapq
import random
import socket
import ssl
from asyncio import base_events, events, sslproto
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from simulations.world.errors import Deadlock, EscapeError, Livelock
from simulations.world.process import RUNNING, Process, current

if TYPE_CHECKING:
    from simulations.world.network import Network

_T = TypeVar("_T")

_Entry: TypeAlias = tuple[float, int, Any, tuple[Any, ...] | None]
"""When (true time), serial, and an own callback with its arguments, or a timer of simulated code and None."""

TURNS_PER_INSTANT_MAX: Final = 100_000
"""Turns of the loop without a step of time; more is a livelock."""

_GATHER_CHANCE: Final = 0.05
_GATHER_WINDOW_S: Final = 0.0005
"""Now and then events of this window are released at once."""

_DEAD_TIMERS_MIN: Final = 1024

_push: Final = heapq.heappush
_pop: Final = heapq.heappop


class SimTask(asyncio.Task[_T]):
    """A task with a hash of its own, so that asyncio's own sets of tasks iterate in the same order every time."""

    _serial = 0

    def __init__(self, coro: Coroutine[Any, Any, _T], *, serial: int, **named: Any) -> None:
        self._serial = serial
        super().__init__(coro, **named)

    def __hash__(self) -> int:
        return self._serial

    def __eq__(self, other: object) -> bool:
        return self is other


class SimTimer(events.TimerHandle):
    """A callback that is due, now or later, without the debugging of asyncio's own, which costs more than the rest."""

    __slots__ = ()

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: "SimLoop",
        context: Context | None,
    ) -> None:
        self._when = when
        self._callback = callback
        self._args = args
        self._loop = loop
        self._context = copy_context() if context is None else context
        self._cancelled = self._scheduled = False
        self._repr = self._source_traceback = None

    def cancel(self) -> None:
        """Forget the callback; the loop drops the timer when it meets it. Idempotent."""
        if not self._cancelled:
            self._cancelled = True
            self._callback, self._args = None, ()  # type: ignore[assignment]  # as in asyncio, for whoever holds it
            if self._scheduled:
                self._loop.dead_timers += 1


class SimLoop(base_events.BaseEventLoop):
    """The virtual clock and the heap of everything that is going to happen."""

    network: "Network"
    """Set by ``Network`` itself."""

    def __init__(self, *, seed: int) -> None:
        super().__init__()
        self.true_time: float = 0.0
        """Seconds since the world's beginning."""
        self.turns = 0
        self.failures: list[BaseException] = []
        """What callbacks and tasks raised and nobody took."""
        self._random = random.Random(seed)
        self._heap: list[_Entry] = []
        self._serial = 0
        self._task_serial = 0
        self.dead_timers = 0
        """Timers in the heap that were cancelled."""
        self._instant_turns = 0
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # typeshed knows no subclass factories
        self.set_exception_handler(self._note_failure)

    # Time

    def time(self) -> float:
        """Return the steady clock of the current process's host; true time for the simulation's own code."""
        process = current.get()
        return self.true_time if process is None else process.clock.local(self.true_time)

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> SimTimer:
        """Call ``callback`` in the next turn."""
        if self._closed:
            self._check_closed()
        handle = SimTimer(self.true_time, callback, args, self, context)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> SimTimer:
        """Set a timer on the current process's clock."""
        timer = SimTimer(when, callback, args, self, context)
        timer._scheduled = True
        process = current.get()
        due = when if process is None else process.clock.reaches(when)
        self._serial = serial = self._serial + 1
        _push(self._heap, (due if due > self.true_time else self.true_time, serial, timer, None))
        return timer

    def at(self, when: float, callback: Callable[..., None], *args: Any) -> None:
        """Call the simulation's own ``callback`` at a true time; cannot be cancelled, and costs no handle."""
        self._serial = serial = self._serial + 1
        due = when if when > self.true_time else self.true_time
        _push(self._heap, (due, serial, callback, args))

    # One turn

    def _run_once(self) -> None:
        self.turns += 1
        if not self._ready and not self._stopping:
            self._advance()
        self._instant_turns += 1
        if self._instant_turns > TURNS_PER_INSTANT_MAX:
            raise Livelock(f"{TURNS_PER_INSTANT_MAX} turns at {self.true_time:.6f} s")
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if handle._cancelled:
                continue
            process: Process | None = handle._context.get(current)
            if process is None or process.state is RUNNING:
                handle._run()
            else:
                process.backlog.append(handle)

    def _advance(self) -> None:
        """Go to the next event and release it, with those of the same instant or, now and then, of a small window."""
        if self.dead_timers > _DEAD_TIMERS_MIN and self.dead_timers > len(self._heap) // 2:
            self._drop_dead_timers()
        heap = self._heap
        if not heap:
            raise Deadlock(f"nothing is left to happen at {self.true_time:.6f} s")
        window = _GATHER_WINDOW_S if self._random.random() < _GATHER_CHANCE else 0.0
        until = heap[0][0] + window
        if heap[0][0] > self.true_time:
            self._instant_turns = 0
        while heap and heap[0][0] <= until:
            self.true_time, _, what, arguments = _pop(heap)
            if arguments is not None:
                what(*arguments)
                continue
            what._scheduled = False
            if what._cancelled:
                self.dead_timers -= 1
            else:
                self._ready.append(what)

    def _drop_dead_timers(self) -> None:
        self._heap = [entry for entry in self._heap if entry[3] is not None or not entry[2]._cancelled]
        heapq.heapify(self._heap)
        self.dead_timers = 0

    def run_backlog(self, process: Process) -> None:
        """Release what became due while ``process`` did not run."""
        self._ready.extend(process.backlog)
        process.backlog.clear()

    # Tasks and failures

    def _make_task(self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, _T], **named: Any) -> SimTask[_T]:
        self._task_serial += 1
        task = SimTask(coro, serial=self._task_serial, loop=loop, **named)
        context: Context | None = named.get("context")
        process = current.get() if context is None else context.get(current)
        if process is not None:
            process.keep(task)
        return task

    def _note_failure(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.failures.append(error if isinstance(error, BaseException) else EscapeError(str(context.get("message"))))

    # The network

    async def create_datagram_endpoint(
        self,
        protocol_factory: Callable[[], asyncio.DatagramProtocol],
        local_addr: tuple[str, int] | None = None,
        remote_addr: tuple[str, int] | None = None,
        **named: Any,
    ) -> tuple[asyncio.DatagramTransport, asyncio.DatagramProtocol]:
        """Bind a datagram socket of the current process's host."""
        if remote_addr is not None or named.get("sock") is not None:
            raise EscapeError("connected or foreign datagram sockets are not simulated")
        protocol = protocol_factory()
        return self.network.bind_datagrams(_process(), local_addr or ("0.0.0.0", 0), protocol), protocol

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        ssl: ssl.SSLContext | None = None,
        **named: Any,
    ) -> asyncio.AbstractServer:
        """Listen on a stream socket of the current process's host."""
        if sock is not None:
            raise EscapeError("foreign sockets are not simulated")
        factory = protocol_factory if ssl is None else self._secured(protocol_factory, ssl, named)
        return self.network.listen(_process(), (host or "0.0.0.0", port or 0), factory)

    async def create_connection(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: ssl.SSLContext | None = None,
        sock: socket.socket | None = None,
        server_hostname: str | None = None,
        **named: Any,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """Connect a stream, or take the one that ``sock_connect`` made for ``sock``."""
        if sock is not None:
            connecting = self.network.taken(sock)
        else:
            assert host is not None and port is not None, "a connection has a target"
            connecting = self.network.connect(_process(), (host, port))
        stream = await connecting
        protocol = protocol_factory()
        if ssl is None:
            stream.begin(protocol)
            return stream, protocol
        waiter = self.create_future()
        layer = sslproto.SSLProtocol(
            self, protocol, ssl, waiter, server_side=False, server_hostname=server_hostname or host,
            ssl_handshake_timeout=named.get("ssl_handshake_timeout"),
        )  # fmt: skip
        stream.begin(layer)
        try:
            await waiter
        except BaseException:
            stream.abort()
            raise
        return layer._app_transport, protocol

    def _secured(
        self, factory: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext, named: dict[str, Any]
    ) -> Callable[[], asyncio.BaseProtocol]:
        def make() -> asyncio.BaseProtocol:
            return sslproto.SSLProtocol(
                self, factory(), context, None, server_side=True,  # type: ignore[arg-type]
                ssl_handshake_timeout=named.get("ssl_handshake_timeout"),
            )  # fmt: skip

        return make

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect for libraries that bring a real socket: it is closed at once, the stream waits to be taken."""
        await self.network.connect_for(_process(), sock, (address[0], address[1]))

    async def getaddrinfo(
        self, host: str | None, port: int | None, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
    ) -> list[tuple[Any, ...]]:
        """Resolve names of hosts of the world."""
        address = self.network.resolve(str(host))
        return [(socket.AF_INET, type or socket.SOCK_STREAM, proto, "", (address, int(port or 0)))]

    # What else simulated code may ask for

    def run_in_executor(self, executor: Any, func: Callable[..., _T], *args: Any) -> "asyncio.Future[_T]":
        """Run ``func`` here and now; its outcome arrives a little later."""
        future: asyncio.Future[_T] = self.create_future()
        try:
            result = func(*args)
        except Exception as error:
            self.call_later(self._random.uniform(0.0001, 0.002), _fail, future, error)
        else:
            self.call_later(self._random.uniform(0.0001, 0.002), _succeed, future, result)
        return future

    def add_signal_handler(self, sig: int, callback: Callable[..., object], *args: Any) -> None:
        """Accept and ignore: no signal ever comes."""

    def remove_signal_handler(self, sig: int) -> bool:
        """Accept and ignore."""
        return True

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Context | None = None) -> Any:
        """The same as ``call_soon``: there is one thread."""
        return self.call_soon(callback, *args, context=context)

    def add_reader(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        """There are no file descriptors here."""
        raise EscapeError("file descriptors are not simulated")

    def add_writer(self, fd: Any, callback: Callable[..., Any], *args: Any) -> None:
        """There are no file descriptors here."""
        raise EscapeError("file descriptors are not simulated")

    def _process_events(self, event_list: Any) -> None:
        """There is no selector."""

    def _write_to_self(self) -> None:
        """There is no selector to wake."""


def _process() -> Process:
    process = current.get()
    if process is None:
        raise EscapeError("only a process of a host has sockets")
    return process


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _succeed(future: "asyncio.Future[Any]", result: Any) -> None:
    if not future.done():
        future.set_result(result)
