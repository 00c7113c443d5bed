"""serf: membership alone (SWIM with Lifeguard), no leader, no values; one agent per process, profile ``local``."""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from benchmarks.bench import Bench, BenchError
from benchmarks.figures import Sample, seconds, spread
from benchmarks.programs import free_ports, installed, running, until
from benchmarks.results import Comparison
from benchmarks.rows.start import idle_percent
from benchmarks.rows.verdicts import RUN_S, STALL_S
from benchmarks.usage import pss_mib

NAME: Final = "serf"
ROWS: Final = ("start", "memory", "idle", "kill", "stop", "verdicts")

_CONVERGE_TIMEOUT_S: Final = 90.0
_DETECT_TIMEOUT_S: Final = 60.0
_EVENT: Final = re.compile(r"serf: EventMember(Join|Failed|Leave|Reap): (\S+)")


@dataclass(slots=True)
class Agent:
    """One agent, and what its log said of others."""

    name: str
    process: asyncio.subprocess.Process
    joined: set[str] = field(default_factory=set)
    failed_at: dict[str, float] = field(default_factory=dict)
    """Name → when its failure was last reported, on the monotonic clock of this process."""

    failures: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def follow(self) -> None:
        """Read the log until the agent ends."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            event = _EVENT.search(line.decode(errors="replace"))
            if event is None:
                continue
            what, name = event.groups()
            if what == "Join":
                self.joined.add(name)
                self.failed_at.pop(name, None)
            else:
                self.failed_at[name] = time.monotonic()
                self.failures[name] += 1


async def measure(bench: Bench, rows: Sequence[str]) -> list[Comparison]:
    """Measure the wanted rows, most of them on one network of 50, the verdicts on one of 40."""
    program = installed("serf")
    if program is None:
        raise BenchError("not installed here")
    count = bench.size(50, 4)
    found: list[Comparison] = []
    if {*rows} - {"verdicts"}:
        began = time.perf_counter()
        async with _started(program, count) as agents:
            start_s = time.perf_counter() - began
            found += await _costs(bench, agents, rows, start_s)
            for row, fault in (("kill", signal.SIGKILL), ("stop", signal.SIGSTOP)):
                if row in rows:
                    found.append(await _detection(bench, agents, row, fault))
    if "verdicts" in rows:
        async with _started(program, bench.size(40, 5)) as agents:
            found.append(await _verdicts(bench, agents))
    return found


@asynccontextmanager
async def _started(program: str, count: int) -> AsyncIterator[list[Agent]]:
    """Give agents each of which knows all."""
    ports = free_ports(2 * count)
    agents: list[Agent] = []
    async with AsyncExitStack() as stack:
        readers = await stack.enter_async_context(asyncio.TaskGroup())
        for i in range(count):
            command = [program, "agent", f"-node=serf-{i}", f"-bind=127.0.0.1:{ports[2 * i]}"]
            command += [f"-rpc-addr=127.0.0.1:{ports[2 * i + 1]}", "-profile=local", "-log-level=info"]
            if i:
                command += [f"-retry-join=127.0.0.1:{ports[0]}", "-retry-interval=1s"]
            process = await stack.enter_async_context(running(command, stdout=asyncio.subprocess.PIPE))
            agents.append(Agent(f"serf-{i}", process))
            readers.create_task(agents[-1].follow())
            if i == 0:
                # It must listen before others ask it, or they would try again only a second later.
                await until(lambda: agents[0].joined, what="serf: the first agent runs", deadline_s=10, pause_s=0.01)
        complete = "serf: every agent knows all"
        await until(
            lambda: all(len(agent.joined) == count for agent in agents), what=complete, deadline_s=_CONVERGE_TIMEOUT_S
        )
        yield agents


async def _costs(bench: Bench, agents: list[Agent], rows: Sequence[str], start_s: float) -> list[Comparison]:
    pids = [agent.process.pid for agent in agents]
    found = []
    if "start" in rows:
        text = f"{seconds(start_s)} until each of {len(agents)} agents knows all"
        found.append(_comparison("start", text, lead=start_s, note="no leader, no values"))
    if {"memory", "idle"} & set(rows):
        await asyncio.sleep(bench.size(10, 0))
    if "memory" in rows:
        sample = Sample.of([pss_mib(pid) for pid in pids])
        found.append(_comparison("memory", f"mean {sample.mean:.1f} MiB", lead=sample.mean, note="membership alone"))
    if "idle" in rows:
        percent = await idle_percent(pids, bench.size(20, 1))
        text = f"{percent:.2f} % of a core per agent"
        found.append(_comparison("idle", text, lead=percent, note="membership alone"))
    return found


async def _detection(bench: Bench, agents: list[Agent], row: str, fault: signal.Signals) -> Comparison:
    """Kill or stop agents one after the other; time until the last survivor reports each."""
    durations = []
    for _ in range(bench.size(5, 1)):
        victim = agents[-1] if fault is signal.SIGKILL else bench.random.choice(agents[1:])
        survivors = [agent for agent in agents if agent is not victim]
        began = time.monotonic()
        os.kill(victim.process.pid, fault)
        try:
            await _all_say(survivors, victim, is_failed=True)
        finally:
            if fault is signal.SIGSTOP:
                os.kill(victim.process.pid, signal.SIGCONT)
        durations.append(max(agent.failed_at[victim.name] for agent in survivors) - began)
        if fault is signal.SIGKILL:
            agents.remove(victim)
        else:
            await _all_say(survivors, victim, is_failed=False)
    sample = Sample.of(durations)
    note = "no leader: until every survivor reports the failure, which for Pair is the first half of the way"
    return _comparison(row, spread(sample), lead=sample.p50, note=note)


async def _all_say(survivors: list[Agent], victim: Agent, *, is_failed: bool) -> None:
    await until(
        lambda: all((victim.name in agent.failed_at) == is_failed for agent in survivors),
        what=f"serf: all say that {victim.name} {'failed' if is_failed else 'is back'}",
        deadline_s=_DETECT_TIMEOUT_S,
    )


async def _verdicts(bench: Bench, agents: list[Agent]) -> Comparison:
    """The same stalls as for Pair."""
    stalled = bench.random.sample(agents, bench.size(8, 1))
    healthy = [agent for agent in agents if agent not in stalled]
    names = [agent.name for agent in healthy]
    ends = time.monotonic() + bench.size(60, 5)
    try:
        while time.monotonic() < ends:
            for agent in stalled:
                os.kill(agent.process.pid, signal.SIGSTOP)
            await asyncio.sleep(STALL_S)
            for agent in stalled:
                os.kill(agent.process.pid, signal.SIGCONT)
            await asyncio.sleep(RUN_S)
    finally:
        for agent in stalled:
            with contextlib.suppress(ProcessLookupError):
                os.kill(agent.process.pid, signal.SIGCONT)
    await asyncio.sleep(bench.size(10, 1))
    wrong = sum(agent.failures[name] for agent in healthy for name in names)
    note = f"N = {len(agents)}, {len(stalled)} stalled in the same way; what healthy agents log of healthy agents"
    return _comparison("verdicts", str(wrong), lead=float(wrong), note=note)


def _comparison(row: str, measured: str, *, lead: float | None, note: str) -> Comparison:
    return Comparison(system=NAME, row=row, measured=measured, lead=lead, notes=(note,), figures={"lead": lead})
