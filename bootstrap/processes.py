"""What a process does just now, and whether it is still the one that was meant.

Process ids are used again, so a process is named by its pid and its start: on Linux the kernel's start tick within
one boot of the machine (``/proc/<pid>/stat``, field 22), elsewhere the start time that ``ps`` prints.
"""

import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Literal, TypeAlias

ProcessState: TypeAlias = Literal["running", "paused", "gone"]

_PROC: Final = Path("/proc")
_STARTS_AFTER_STATE: Final = 19
"""Fields of ``/proc/<pid>/stat`` between the state (3) and the start tick (22)."""

_PAUSED: Final = "Tt"
_DEAD: Final = "ZXx"
_PS_TIMEOUT_S: Final = 5.0
_LOOK_PAUSE_S: Final = 0.005
_LOOK_PAUSE_MAX_S: Final = 0.05


def process_start(pid: int) -> str | None:
    """Return text that tells this process from later ones with the same pid; None when there is none."""
    seen = _look(pid)
    return seen[1] if seen else None


def pid_namespace() -> str:
    """Return the name of what pids count in: another one in each container on Linux; empty where there is but one."""
    try:
        return str((_PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def process_state(pid: int, start: str) -> ProcessState:
    """Return what the process with this pid and this start does; a zombie is gone."""
    seen = _look(pid)
    if seen is None or seen[1] != start or seen[0] in _DEAD:
        return "gone"
    return "paused" if seen[0] in _PAUSED else "running"


def send_signal(pid: int, start: str, number: signal.Signals) -> bool:
    """Send a signal to the process with this pid and this start; return False, sending nothing, when it is gone.

    Where the system offers it the process is held by a descriptor between the look and the signal, so that not even
    a pid that is given anew within that moment is hit.

    Raises:
        PermissionError: It belongs to somebody else.
    """
    try:
        descriptor = os.pidfd_open(pid) if hasattr(os, "pidfd_open") and pid > 0 else None
    except ProcessLookupError:
        return False
    except OSError:
        descriptor = None  # an old kernel, or a container that does not allow it
    try:
        if process_state(pid, start) == "gone":
            return False
        if descriptor is not None:
            signal.pidfd_send_signal(descriptor, number)
        else:
            os.kill(pid, number)
    except ProcessLookupError:
        return False
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return True


def wait_until(conditions: Iterable[Callable[[], bool]], *, timeout_s: float) -> bool:
    """Wait until every condition on processes has held once; return whether all did in time.

    Other people's processes give no event to wait for, so each is looked at every few milliseconds.
    """
    ends = time.monotonic() + timeout_s
    pause_s = _LOOK_PAUSE_S
    open_conditions = list(conditions)
    while True:
        open_conditions = [condition for condition in open_conditions if not condition()]
        if not open_conditions:
            return True
        if time.monotonic() >= ends:
            return False
        time.sleep(pause_s)
        pause_s = min(_LOOK_PAUSE_MAX_S, pause_s * 1.5)


def _look(pid: int) -> tuple[str, str] | None:
    """Return the state letter and the start of a process."""
    if pid <= 0:
        return None
    return look_in_proc(pid) if (_PROC / "self" / "stat").exists() else look_with_ps(pid)


def look_in_proc(pid: int) -> tuple[str, str] | None:
    """Return state letter and start of a process on Linux; None when there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # The second field is the program's name in parentheses, and may itself hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return fields[0], f"{boot}/{fields[_STARTS_AFTER_STATE]}"


def look_with_ps(pid: int) -> tuple[str, str] | None:
    """Return state letter and start of a process on systems without ``/proc``; None when there is none."""
    import subprocess  # only here: the command line stays light where /proc exists

    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it exists, and belongs to somebody else
    try:
        answer = subprocess.run(
            ["ps", "-o", "state=,lstart=", "-p", str(pid)],
            capture_output=True,
            text=True,
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            timeout=_PS_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    state, _, start = answer.stdout.strip().partition(" ")
    return (state[0], " ".join(start.split())) if state and start else None
