"""Where it was measured: figures without their machine mean nothing."""

import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.figures import Sample

_FSYNCS: Final = 50


def machine(folder: Path) -> dict[str, Any]:
    """Return what this machine is and how busy it was when the run began.

    Args:
        folder: Where the data of the run will lie; its disk is tried.
    """
    return {
        "cpu": _line_of("/proc/cpuinfo", "model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_mib": _memory_mib(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": f"{platform.system()} {platform.release()}",
        "load": [round(load, 2) for load in os.getloadavg()],
        "disk": _file_system_of(folder),
        "fsync_p50_ms": round(_fsync_s(folder).p50 * 1000, 3),
    }


def machine_text(facts: dict[str, Any]) -> str:
    """Return the facts in one paragraph."""
    load = " ".join(f"{value:.2f}" for value in facts["load"])
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_mib']} MiB; {facts['kernel']}; {facts['python']}; "
        f"load at the start {load}; {facts['disk']}, fsync {facts['fsync_p50_ms']} ms"
    )


def _line_of(path: str, name: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _memory_mib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20


def _file_system_of(folder: Path) -> str:
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "file system unknown"
    around = [mount for mount in mounts if folder.resolve().is_relative_to(mount[0])]
    return max(around, key=lambda mount: len(mount[0]))[1] if around else "file system unknown"


def _fsync_s(folder: Path) -> Sample:
    """Return how long it takes to append 1 KB to a file and sync it."""
    durations = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(_FSYNCS):
            began = time.perf_counter()
            file.write(bytes(1024))
            file.flush()
            os.fsync(file.fileno())
            durations.append(time.perf_counter() - began)
    return Sample.of(durations)
