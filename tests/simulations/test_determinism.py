"""The same seed gives the same run, whatever the process: the promise on which replays and shrinking rest.

Each seed runs in two processes at once, with different hash seeds and differently filled heaps, since sets of strings
follow the one and sets of objects the other.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
SEEDS: Final = range(1, 21)
NODES: Final = 6
DURATION_S: Final = 4.0


async def runs(*, hash_seed: int, heap_pad: int) -> list[Any]:
    """Return digest, checkpoints and figures of each seed, as a process of its own sees them."""
    arguments = [heap_pad, NODES, DURATION_S, *SEEDS]
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "tests" / "simulations" / "one_run.py"), *map(str, arguments),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        out, err = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, err.decode()
    return [json.loads(line) for line in out.decode().splitlines()]


def parting(first: list[str], second: list[str]) -> str:
    """Return the window of events in which two runs part, from their checkpoints."""
    number = next((i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), len(first))
    return f"events {number * 1000} to {(number + 1) * 1000}; Trace(window=range(...)) of both shows the first"


@pytest.mark.timeout(600)
async def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    """Twenty of twenty (DESIGN section 1, promise 6)."""
    first, second = await asyncio.gather(runs(hash_seed=1, heap_pad=0), runs(hash_seed=424242, heap_pad=77_777))

    differing = [
        f"seed {seed}: {parting(a[1], b[1])}" for seed, a, b in zip(SEEDS, first, second, strict=True) if a != b
    ]
    assert differing == []
    assert len({digest for digest, _, _ in first}) == len(SEEDS)


def test_a_window_is_named_where_two_runs_part() -> None:
    """A mismatch has to be found, not only seen."""
    assert parting(["a", "b", "c"], ["a", "x", "y"]).startswith("events 1000 to 2000;")
    assert parting(["a"], ["a"]).startswith("events 1000 to 2000;")
