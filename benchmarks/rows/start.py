"""How fast a network starts, and what it costs while nobody asks anything of it."""

import asyncio
import time
from typing import Final

from benchmarks.bench import Bench
from benchmarks.figures import Sample, seconds
from benchmarks.pair_network import prepared, started
from benchmarks.results import Outcome
from benchmarks.usage import processor_s, pss_mib

START_MUST_S: Final = 6.0
START_GOAL_S: Final = 2.0
MEMORY_MUST_MIB: Final = 14.0
MEMORY_GOAL_MIB: Final = 10.0
IDLE_MUST_PERCENT: Final = 1.0
IDLE_GOAL_PERCENT: Final = 0.3

_CALM_S: Final = 10
"""Time after the start until a network counts as idle: joining, first syncs and writes of caches are over."""


async def measure_start(bench: Bench) -> Outcome:
    """Time ``pair up N --detach`` from the command's start to its end, then check what it promised."""
    peers = bench.size(50, 4)
    durations: list[float] = []
    checks: list[float] = []
    for _ in range(bench.size(5, 1)):
        async with prepared(bench) as network:
            durations.append(await network.up(peers))
            began = time.perf_counter()
            await network.settled()
            checks.append(time.perf_counter() - began)
        bench.say(f"up {peers}: {durations[-1]:.2f} s, then all asked: {checks[-1]:.2f} s")
    sample = Sample.of(durations)
    return Outcome(
        measured=f"p50 {seconds(sample.p50)}, min {seconds(sample.values[0])}, max {seconds(sample.max)}",
        must=sample.max <= START_MUST_S,
        goal=sample.max <= START_GOAL_S,
        lead=sample.p50,
        notes=(
            f"{len(durations)} starts of {peers} peers from an empty folder, the command's own start included; "
            f"afterwards every peer was asked and saw all {peers} and one leader (the slowest check took "
            f"{seconds(max(checks))})",
        ),
        figures={"peers": peers, "up_s": sample.document()},
    )


async def measure_memory(bench: Bench) -> Outcome:
    """Read the proportional set size of every peer of a calm network."""
    peers = bench.size(50, 4)
    async with started(bench, peers) as network:
        network.close_clients()
        await asyncio.sleep(bench.size(_CALM_S, 1))
        sample = Sample.of([pss_mib(pid) for pid in network.pids])
    return Outcome(
        measured=f"mean {sample.mean:.1f} MiB, p50 {sample.p50:.1f} MiB, max {sample.max:.1f} MiB",
        must=sample.mean <= MEMORY_MUST_MIB,
        goal=sample.mean <= MEMORY_GOAL_MIB,
        lead=sample.mean,
        notes=(f"Pss of /proc/PID/smaps_rollup, {len(sample.values)} peers; the verdict is on the mean",),
        figures={"peers": peers, "pss_mib": sample.document()},
    )


async def measure_idle(bench: Bench) -> Outcome:
    """Count the processor time of all peers while nobody asks anything."""
    peers, watched_s = bench.size(50, 4), bench.size(30, 2)
    async with started(bench, peers) as network:
        network.close_clients()
        await asyncio.sleep(bench.size(_CALM_S, 1))
        percent = await idle_percent(network.pids, watched_s)
    return Outcome(
        measured=f"{percent:.2f} % of a core per peer",
        must=percent <= IDLE_MUST_PERCENT,
        goal=percent <= IDLE_GOAL_PERCENT,
        lead=percent,
        notes=(f"user and system time of {peers} peers over {watched_s} s, divided by both",),
        figures={"peers": peers, "percent": percent, "watched_s": watched_s},
    )


async def idle_percent(pids: list[int], watched_s: float) -> float:
    """Return how much of one core each of these processes uses on average, in percent."""
    before, began = processor_s(pids), time.perf_counter()
    await asyncio.sleep(watched_s)
    used, took = processor_s(pids) - before, time.perf_counter() - began
    return 100 * used / took / len(pids)
