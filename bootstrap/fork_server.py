"""Starts many peers quickly: a helper process imports everything once and forks one process for each peer.

A new interpreter for each peer would cost 0.3 s of processor and some 30 MiB; forked from one that has everything
loaded they share what they do not change. The helper is detached from the terminal, opens no event loop, thread or
socket, and ends after the last fork: the peers belong to nobody but the system's first process.

Each peer says over a pipe whether it serves or why it does not; what is inherited to mark that a start is at work
(the lock of the network's folder) stays open in a peer until then, so it stays held exactly as long as somebody
starts, even when the command that asked for it is killed.
"""

import contextlib
import gc
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn, TypeAlias

import msgspec

from bootstrap.peer_log import attach_log
from protocol.errors import ConfigError, EnvironmentFault

Run: TypeAlias = Callable[[str, Callable[[], None]], None]
"""Runs the peer of that name in this process until its orderly end; the second argument is called once it serves."""

START_TIMEOUT_S: Final = 60
"""A peer that does not serve by then ends itself: nobody may wait for it, or hold its folder, for ever."""

_REPORT_SIZE_MAX_BYTES: Final = 2048
"""Well under ``PIPE_BUF``, so that reports of many peers do not mix."""

_DESCRIPTORS_MAX: Final = 2**16

_POOLED_STEP_BYTES: Final = 16
_POOLED_SIZE_MAX_BYTES: Final = 512
_FILLED_PER_SIZE_BYTES: Final = 2**15
"""More saves nothing that could be measured; in all a megabyte, shared by all peers."""
_TEXT_SIZE_MAX: Final = 600


@dataclass(frozen=True, slots=True)
class Launch:
    """A peer to start."""

    name: str
    log_path: Path


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one start."""

    name: str
    cause: str = ""
    """Empty: it serves. Otherwise why it does not."""

    next_step: str = ""
    is_configuration: bool = False
    """Whether a setting is to blame, rather than the machine."""

    @property
    def is_started(self) -> bool:
        """Whether the peer serves."""
        return not self.cause


def start_peers(
    launches: Sequence[Launch],
    *,
    load: Callable[[], Run],
    held: Sequence[int] = (),
    timeout_s: float,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Start detached peers; return, in the order of ``launches``, what became of each.

    Args:
        load: Called once in the helper; imports all that a peer needs and returns what runs one. Like the peers it
            may raise ``EnvironmentFault``, which is passed on.
        held: Descriptors that stay open until the last peer serves or has failed.
        timeout_s: How long to wait; peers that have not answered by then go on, up to ``START_TIMEOUT_S``.
        on_outcome: Called as each becomes known.

    The calling process must have no other thread.
    """
    if not launches:
        return []
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    helper = os.fork()
    if helper == 0:
        _serve_and_exit(launches, load, report=writing, held=held)
    os.close(writing)
    try:
        found = _collect(reading, {launch.name for launch in launches}, timeout_s=timeout_s, on_outcome=on_outcome)
        return [found.get(launch.name) or _silent(launch, timeout_s) for launch in launches]
    finally:
        os.close(reading)
        # It ended after the last fork. One that hangs must not go on forking when nobody waits any more.
        with contextlib.suppress(ProcessLookupError):
            os.kill(helper, signal.SIGKILL)
        os.waitpid(helper, 0)


def _collect(
    reading: int, names: set[str], *, timeout_s: float, on_outcome: Callable[[Outcome], None]
) -> dict[str, Outcome]:
    """Read reports until all are there, every writer is gone, or time is up."""
    ends = time.monotonic() + timeout_s
    found: dict[str, Outcome] = {}
    buffer = b""
    while len(found) < len(names):
        ready, _, _ = select.select([reading], [], [], max(0.0, ends - time.monotonic()))
        piece = os.read(reading, 2**16) if ready else b""
        if not piece:
            break
        *lines, buffer = (buffer + piece).split(b"\n")
        for line in lines:
            outcome = msgspec.json.decode(line, type=Outcome)
            if outcome.name not in found:
                found[outcome.name] = outcome
                on_outcome(outcome)
    return found


def _silent(launch: Launch, timeout_s: float) -> Outcome:
    return Outcome(
        name=launch.name,
        cause=f"{launch.name} ended, or took longer than {timeout_s:g} s, before it could serve",
        next_step=f"its log may say why: {launch.log_path}",
    )


def _serve_and_exit(
    launches: Sequence[Launch], load: Callable[[], Run], *, report: int, held: Sequence[int]
) -> NoReturn:
    """Be the helper: detach, load, fork each peer, end."""
    try:
        _detach()
        _close_all_but((*range(3), report, *held))
        _silence()
        gc.disable()  # a collection while loading would leave holes in pages that are to be shared
        try:
            run = load()
        except Exception as error:  # nothing can be started: each peer's report says why
            for launch in launches:
                _tell(report, _failure(launch.name, error))
            os._exit(1)
        gc.collect()
        # The cache of method look-ups holds references to names that only the loading needed: each peer would give
        # them up one by one, and copy the pages on which they lie. That saves 0.45 MiB of each peer.
        sys._clear_type_cache()
        filling = _fill_holes()  # noqa: F841  (kept as long as this process and those forked from it)
        gc.freeze()
        for launch in launches:
            try:
                is_peer = os.fork() == 0
            except OSError as error:
                _tell(report, _failure(launch.name, _no_process(error)))
                continue
            if is_peer:
                _be_peer_and_exit(launch, run, report=report, held=held)
    finally:
        os._exit(0)


def _be_peer_and_exit(launch: Launch, run: Run, *, report: int, held: Sequence[int]) -> NoReturn:
    """Be a peer until its end."""
    open_until_known = [report, *held]

    def answer(outcome: Outcome) -> None:
        if open_until_known:
            signal.alarm(0)
            _tell(report, outcome)
            while open_until_known:
                os.close(open_until_known.pop())

    code = 1
    try:
        os.setsid()
        signal.alarm(START_TIMEOUT_S)
        _take_name(f"pair {launch.name}")
        attach_log(launch.log_path)
        gc.enable()
        run(launch.name, lambda: answer(Outcome(name=launch.name)))
        code = 0
    except EnvironmentFault as error:
        print(f"{launch.name} ended: {error}", file=sys.stderr)
        answer(_failure(launch.name, error))
    except BaseException as error:  # the top of the process: whatever it is, it is told and logged
        traceback.print_exc()
        answer(_failure(launch.name, error))
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def _failure(name: str, error: BaseException) -> Outcome:
    if isinstance(error, EnvironmentFault):
        return Outcome(
            name=name,
            cause=error.cause[:_TEXT_SIZE_MAX],
            next_step=error.next_step[:_TEXT_SIZE_MAX],
            is_configuration=isinstance(error, ConfigError),
        )
    cause = f"a defect of pair: {type(error).__name__}: {error}"
    return Outcome(name=name, cause=cause[:_TEXT_SIZE_MAX], next_step="please report it, with the peer's log")


def _no_process(error: OSError) -> EnvironmentFault:
    return EnvironmentFault(
        f"the system allows no further process: {error.strerror}",
        next_step="start fewer peers, or raise the limits of processes and memory",
    )


def _tell(report: int, outcome: Outcome) -> None:
    """Write one report; the command that asked may be gone."""
    line = msgspec.json.encode(outcome) + b"\n"
    if len(line) > _REPORT_SIZE_MAX_BYTES:
        line = msgspec.json.encode(Outcome(name=outcome.name, cause=ascii(outcome.cause)[:200])) + b"\n"
    with contextlib.suppress(OSError):
        os.write(report, line)


def _detach() -> None:
    """Leave the terminal: a session of its own, nothing inherited from how the command treats signals."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.chdir("/")  # keeps no disk from being unmounted


def _fill_holes() -> list[bytes]:
    """Take up the free places between the loaded objects, and return what fills them.

    A peer's own objects then lie together on fresh pages, instead of each making a copy of a shared page for a few
    bytes: that saves a megabyte of each peer. CPython keeps objects of up to 512 bytes in pools, one size in steps of
    16 to a pool.
    """
    header = sys.getsizeof(b"")
    return [
        bytes(size - header)
        for size in range(_POOLED_STEP_BYTES * 3, _POOLED_SIZE_MAX_BYTES + 1, _POOLED_STEP_BYTES)
        for _ in range(_FILLED_PER_SIZE_BYTES // size)
    ]


def _close_all_but(kept: Iterable[int]) -> None:
    first = 0
    for descriptor in sorted(kept):
        if first < descriptor:  # an empty range that begins at 0 closes everything
            os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, _DESCRIPTORS_MAX)


def _silence() -> None:
    descriptor = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(descriptor, standard)
    if descriptor > 2:
        os.close(descriptor)


def _take_name(text: str) -> None:
    """Show the peer under its own name in ``ps -e`` and ``top``, where the system allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(text[:15])
