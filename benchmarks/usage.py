"""Memory and processor time of processes, as the kernel counts them (Linux)."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


def pss_mib(pid: int) -> float:
    """Return the proportional set size of a process: its own pages and its share of common ones, in MiB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no line Pss")


def processor_s(pids: Iterable[int]) -> float:
    """Return the processor time that these processes used so far, in user and kernel mode, in seconds."""
    total = 0
    for pid in pids:
        # The second field is a name in parentheses and may hold anything; utime and stime are fields 14 and 15.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S
