"""A signal ends a wait at once, also one that comes just before the wait begins."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from node.cli.interrupts import Interrupts, interruptible
from tests.waiting import until_blocking

LONG_S = 20.0
"""How long the waits would last; they must end long before."""

_FUTEX = "202"
"""Number of the system call in which a thread waits for Python's lock (x86-64)."""


@contextmanager
def unnoticed_signal(number: signal.Signals) -> Iterator[None]:
    """Send a signal while this thread waits in the system, to another thread: so it breaks no wait off.

    That is what a signal does which comes between Python's last look and the wait.
    """
    waiting = Path(f"/proc/self/task/{threading.get_native_id()}/syscall")

    def send() -> None:
        until_blocking(
            lambda: waiting.read_text().split()[0] not in ("running", _FUTEX), what="the wait", deadline_s=LONG_S
        )
        signal.pthread_kill(threading.get_ident(), number)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield
    finally:
        thread.join(LONG_S)


def test_interrupt_ends_a_wait_that_has_hardly_begun() -> None:
    """The wish is noted, and nobody waits for the rest of the time."""
    began = time.monotonic()
    with Interrupts() as interrupts, unnoticed_signal(signal.SIGINT):
        assert interrupts.wait(LONG_S)

    assert time.monotonic() - began < LONG_S / 2


def test_interrupt_ends_a_wait_for_bytes_that_has_hardly_begun() -> None:
    """``watch`` waits for the next change, which may never come."""
    began = time.monotonic()
    ours, theirs = socket.socketpair()
    ours.settimeout(LONG_S)
    with ours, theirs, pytest.raises(KeyboardInterrupt), interruptible(), unnoticed_signal(signal.SIGINT):
        ours.recv(1)

    assert time.monotonic() - began < LONG_S / 2


def test_waits_go_on_after_a_look() -> None:
    """Breaking a wait off loses nothing, and what handled signals before does so again."""
    before = signal.getsignal(signal.SIGALRM)
    ours, theirs = socket.socketpair()
    looks = threading.Event()
    with ours, theirs, interruptible():
        timer = threading.Timer(0.6, lambda: (looks.set(), theirs.send(b"!")))
        timer.start()
        assert ours.recv(1) == b"!" and looks.is_set()
        timer.join()

    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_second_interrupt_interrupts_at_once() -> None:
    """Whoever presses Ctrl-C twice does not want to wait for an orderly end."""
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.wait(LONG_S) and interrupts.happened
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            interrupts.wait(LONG_S)
