"""Programs that a measurement starts: found on the path, ended with their children, never left behind."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Final

from benchmarks.bench import BenchError

END_TIMEOUT_S: Final = 30.0
PAUSE_S: Final = 0.05


def installed(program: str) -> str | None:
    """Return the path of a program, None when it is not installed here."""
    return shutil.which(program)


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback that nobody uses, neither for UDP nor for TCP, at this moment."""
    ports: list[int] = []
    held: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        while len(ports) < count:
            tcp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            udp = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            held += [tcp, udp]
            tcp.bind(("127.0.0.1", 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            ports.append(tcp.getsockname()[1])
    return ports


@asynccontextmanager
async def running(
    command: Sequence[str],
    *,
    stdin: int | None = asyncio.subprocess.DEVNULL,
    stdout: int | IO[bytes] = asyncio.subprocess.DEVNULL,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a program in a session of its own; at the end, kill it and its children."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=stdin,
        stdout=stdout,
        stderr=asyncio.subprocess.STDOUT,
        env=None if env is None else {**os.environ, **env},
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def until(condition: Callable[[], object], *, what: str, deadline_s: float, pause_s: float = PAUSE_S) -> None:
    """Wait until ``condition`` holds.

    Raises:
        BenchError: It did not within ``deadline_s``.
    """
    try:
        async with asyncio.timeout(deadline_s):
            while not condition():  # noqa: ASYNC110  (conditions of other processes have no event to wait for)
                await asyncio.sleep(pause_s)
    except TimeoutError as error:
        raise BenchError(f"{what}: not within {deadline_s:g} s") from error


def processes_with(variable: str, value: str) -> list[int]:
    """Return the processes that were started with this in their environment (Linux); their children inherit it."""
    wanted = f"{variable}={value}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
    return found
