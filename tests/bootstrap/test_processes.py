"""Processes are told apart by pid and start, with and without ``/proc``."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

from bootstrap.processes import look_in_proc, look_with_ps, process_start, process_state, send_signal, wait_until

Look = Callable[[int], tuple[str, str] | None]


@pytest.mark.parametrize("look", [look_in_proc, look_with_ps])
def test_own_process_is_seen_alike_each_time(look: Look) -> None:
    """The start of a process does not change while it lives."""
    first, second = look(os.getpid()), look(os.getpid())

    assert first is not None and second is not None
    assert first[1] == second[1]
    assert first[0] in "RSDI"


@pytest.mark.parametrize("look", [look_in_proc, look_with_ps])
def test_ended_process_is_gone(look: Look) -> None:
    """Nothing is there once it was collected."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(timeout=30)

    assert look(process.pid) is None


def test_state_needs_pid_and_start() -> None:
    """A pid alone may have been given to another process."""
    start = process_start(os.getpid())
    assert start is not None

    assert process_state(os.getpid(), start) == "running"
    assert process_state(os.getpid(), start + "0") == "gone"
    assert process_state(0, "") == process_state(-1, "") == "gone"
    assert process_start(0) is None


def test_signal_reaches_only_the_process_that_was_meant() -> None:
    """Another start under the same pid is another process: nothing is sent."""
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    try:
        start = process_start(process.pid)
        assert start is not None

        assert not send_signal(process.pid, start + "0", signal.SIGKILL)
        assert process.poll() is None
        assert send_signal(process.pid, start, signal.SIGSTOP)
        assert wait_until([lambda: process_state(process.pid, start) == "paused"], timeout_s=30)
        assert not wait_until([lambda: process_state(process.pid, start) == "gone"], timeout_s=0.0)
        assert send_signal(process.pid, start, signal.SIGKILL)
        assert wait_until([lambda: process_state(process.pid, start) == "gone"], timeout_s=30)
    finally:
        process.kill()
        process.wait(timeout=30)
    assert not send_signal(process.pid, start, signal.SIGKILL)
    assert not send_signal(0, "", signal.SIGKILL)
