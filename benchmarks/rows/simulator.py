"""The simulator: what it costs, how fast whole peers run in it, that it repeats itself, and what it finds.

Each run has a process of its own, whose processor time counts: what else the machine does disturbs little.
"""

import asyncio
import json
import sys
from typing import Any, Final

from benchmarks import worlds
from benchmarks.apart import apart, given
from benchmarks.bench import Bench, BenchError
from benchmarks.programs import running
from benchmarks.results import Outcome
from simulations.mutations import MUTATIONS
from simulations.sweep import local_engine

DATAGRAM_MUST_US: Final = 12.0
DATAGRAM_GOAL_US: Final = 8.0
SPEED: Final = ((30, 60.0, 30.0, 100.0), (100, 30.0, 10.0, 30.0), (300, 10.0, 3.0, 10.0))
"""Peers, virtual seconds of faults, and what must and should be reached, in virtual seconds per processor second."""

BOOTSTRAP_MUST_S: Final = 120.0
BOOTSTRAP_GOAL_S: Final = 20.0
DHT_MUST_S: Final = 120.0
DHT_GOAL_S: Final = 60.0
DHT_MEMORY_MUST_MIB: Final = 2048.0
SWEEP_MUST_S: Final = 480.0
SWEEP_GOAL_S: Final = 120.0
CAUGHT_MUST: Final = 16
CAUGHT_OF: Final = 20

_PLAY: Final = (
    "import sys; padding = [object() for _ in range(int(sys.argv[1]))]; "
    "from node.cli import main; main(['simulate', *sys.argv[2:]])"
)
_RUN_TIMEOUT_S: Final = 600.0


async def measure_determinism(bench: Bench) -> Outcome:
    """Play each seed in two processes with other hash seeds and other heaps, and compare the digests of the traces."""
    seeds, nodes, duration_s = bench.size(20, 1), bench.size(20, 5), bench.size(30, 4)
    same = 0
    for number in range(seeds):
        seed = bench.random.randrange(2**32)
        first, second = await asyncio.gather(
            _trace(seed, nodes, duration_s, hash_seed="0", padding=0),
            _trace(seed, nodes, duration_s, hash_seed=str(bench.random.randrange(1, 2**32)), padding=100_003),
        )
        same += first == second
        bench.say(f"seed {seed}: {'the same' if first == second else 'DIFFERENT'} ({number + 1} of {seeds})")
    return Outcome(
        measured=f"{same} of {seeds}",
        must=same == seeds,
        goal=same == seeds,
        notes=(f"swizzle, {nodes} peers, {duration_s} s of faults; two processes for each seed",),
        figures={"seeds": seeds, "same": same},
    )


async def measure_datagram(bench: Bench) -> Outcome:
    """Let hosts echo datagrams that nobody decodes."""
    hosts, datagrams = bench.size(1000, 50), bench.size(1_000_000, 2000)
    cost = await apart(worlds.echoes, hosts, bench.seed, datagrams)
    each_us = cost.processor_s / cost.datagrams * 1e6
    return Outcome(
        measured=f"{each_us:.1f} µs",
        must=each_us <= DATAGRAM_MUST_US,
        goal=each_us <= DATAGRAM_GOAL_US,
        notes=(f"{cost.datagrams} datagrams of 64 bytes between {hosts} hosts; most memory {cost.memory_mib:.0f} MiB",),
        figures={"hosts": hosts, "datagrams": cost.datagrams, "each_us": each_us, "memory_mib": cost.memory_mib},
    )


async def measure_speed(bench: Bench) -> Outcome:
    """Play swizzle with more and more peers."""
    told, figures, notes = [], {}, []
    is_must = is_goal = True
    for peers, duration_s, must, goal in SPEED[: bench.size(len(SPEED), 1)]:
        nodes = bench.size(peers, 5)
        verdict, cost = await apart(worlds.play, "swizzle", nodes, bench.seed, bench.size(int(duration_s), 4))
        speed = cost.simulated_s / cost.processor_s
        is_must, is_goal = is_must and speed >= must, is_goal and speed >= goal
        told.append(f"{nodes} peers: {speed:.1f}")
        figures[str(nodes)] = speed
        notes.append(
            f"{nodes} peers: {verdict.verdict}, {cost.simulated_s:.0f} simulated s in {cost.processor_s:.1f} processor "
            f"s, {cost.datagrams} datagrams, most memory {cost.memory_mib:.0f} MiB"
        )
        bench.say(notes[-1])
    return Outcome(measured="; ".join(told), must=is_must, goal=is_goal, notes=tuple(notes), figures=figures)


async def measure_bootstrap(bench: Bench) -> Outcome:
    """Start a thousand whole peers at once."""
    nodes = bench.size(1000, 10)
    cost = await apart(worlds.bootstrap, nodes, bench.seed)
    return Outcome(
        measured=f"{cost.processor_s:.1f} s",
        must=cost.processor_s <= BOOTSTRAP_MUST_S,
        goal=cost.processor_s <= BOOTSTRAP_GOAL_S,
        notes=(
            f"processor time until {nodes} peers, started at once, all held equal tables and followed one leader: "
            f"{cost.simulated_s:.1f} simulated s, {cost.datagrams} datagrams, most memory {cost.memory_mib:.0f} MiB",
        ),
        figures={"peers": nodes, "processor_s": cost.processor_s, "memory_mib": cost.memory_mib},
    )


async def measure_dht(bench: Bench) -> Outcome:
    """Build a DHT without membership, node by node."""
    nodes, lookups = bench.size(10_000, 50), bench.size(200, 10)
    built, memory_mib = await apart(worlds.build_dht, nodes, bench.seed, lookups)
    return Outcome(
        measured=f"{built.processor_s:.0f} s, {memory_mib:.0f} MiB",
        must=built.processor_s <= DHT_MUST_S and memory_mib <= DHT_MEMORY_MUST_MIB,
        goal=built.processor_s <= DHT_GOAL_S and memory_mib <= DHT_MEMORY_MUST_MIB,
        notes=(
            f"{nodes} Kademlia nodes joined one after the other, {built.datagrams} datagrams, {built.contacts:.0f} "
            f"contacts in a table on average; {lookups} lookups of random keys found {built.recall:.0%} of the nearest",
        ),
        figures={"nodes": nodes, "processor_s": built.processor_s, "memory_mib": memory_mib, "recall": built.recall},
    )


async def measure_sweep(bench: Bench) -> Outcome:
    """Play many seeds of swizzle on all cores; each failure is a false alarm, or a bug."""
    count, nodes, duration_s = bench.size(200, 2), bench.size(20, 5), bench.size(60, 4)
    began = asyncio.get_running_loop().time()
    with local_engine() as engine:
        plays = [given(engine, worlds.play, "swizzle", nodes, seed, float(duration_s)) for seed in range(1, count + 1)]
        verdicts = [(await played)[0] for played in plays]
    took_s = asyncio.get_running_loop().time() - began
    failed = [verdict for verdict in verdicts if verdict.verdict == "FAIL"]
    return Outcome(
        measured=f"{took_s:.0f} s on {engine.workers} cores, {len(failed)} failures",
        must=took_s <= SWEEP_MUST_S and not failed,
        goal=took_s <= SWEEP_GOAL_S and not failed,
        notes=(
            f"{count} seeds of swizzle from 1 on, {nodes} peers, {duration_s} s of faults",
            *(f"seed {verdict.seed}: {_broken(verdict)}" for verdict in failed[:5]),
        ),
        figures={"seeds": count, "took_s": took_s, "failed": [verdict.seed for verdict in failed]},
    )


async def measure_bugs(bench: Bench) -> Outcome:
    """Plant each bug and play seeds until a check fails."""
    seeds, names = bench.size(2000, 3), list(MUTATIONS)[: bench.size(len(MUTATIONS), 2)]
    with local_engine() as engine:
        hunts = [given(engine, worlds.catch, name, seeds) for name in names]
        catches = [await hunt for hunt in hunts]
    caught = [catch for catch in catches if catch.seed is not None]
    return Outcome(
        measured=f"{len(caught)} of {len(names)} caught",
        must=len(caught) * CAUGHT_OF >= CAUGHT_MUST * len(names),
        goal=len(caught) == len(names),
        notes=tuple(
            f"{catch.mutation}: {f'seed {catch.seed}' if catch.seed is not None else f'not in {catch.seeds} seeds'} "
            f"{', '.join(catch.checks)}".rstrip()
            for catch in catches
        ),
        figures={catch.mutation: catch.seed for catch in catches},
    )


async def _trace(seed: int, nodes: int, duration_s: int, *, hash_seed: str, padding: int) -> str:
    """Return the digest of a run in a new interpreter."""
    options = ("--nodes", str(nodes), "--duration", str(duration_s), "--seed", str(seed), "--json", "--no-shrink")
    command = (sys.executable, "-c", _PLAY, str(padding), "swizzle", *options)
    async with running(command, stdout=asyncio.subprocess.PIPE, env={"PYTHONHASHSEED": hash_seed}) as process:
        try:
            async with asyncio.timeout(_RUN_TIMEOUT_S):
                output, _ = await process.communicate()
        except TimeoutError as error:
            raise BenchError(f"swizzle with seed {seed}: no end within {_RUN_TIMEOUT_S:.0f} s") from error
    lines = [line for line in output.decode().splitlines() if line.startswith('{"scenario"')]
    if not lines:
        raise BenchError(f"swizzle with seed {seed} printed no verdict: {output.decode().strip()[-300:]}")
    return str(json.loads(lines[0])["trace_sha256"])


def _broken(verdict: Any) -> str:
    return "; ".join(f"{check.name} ({check.detail})" for check in verdict.checks if not check.ok)
