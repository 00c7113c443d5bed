"""What a process does just now, and whether it is still the one that was meant.

Process ids are used again, so a process is named by its pid and its start: on Linux the kernel's start tick within
one boot of the machine (``/proc/<pid>/stat``, field 22), elsewhere the start time that ``ps`` prints.
"""

import os
from pathlib import Path
from typing import Final, Literal, TypeAlias

ProcessState: TypeAlias = Literal["running", "paused", "gone"]

_PROC: Final = Path("/proc")
_STARTS_AFTER_STATE: Final = 19
"""Fields of ``/proc/<pid>/stat`` between the state (3) and the start tick (22)."""

_PAUSED: Final = "Tt"
_DEAD: Final = "ZXx"
_PS_TIMEOUT_S: Final = 5.0


def process_start(pid: int) -> str | None:
    """Return text that tells this process from later ones with the same pid; None when there is none."""
    seen = _look(pid)
    return seen[1] if seen else None


def process_state(pid: int, start: str) -> ProcessState:
    """Return what the process with this pid and this start does; a zombie is gone."""
    seen = _look(pid)
    if seen is None or seen[1] != start or seen[0] in _DEAD:
        return "gone"
    return "paused" if seen[0] in _PAUSED else "running"


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
