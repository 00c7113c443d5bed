"""Stock kademlia: a network of the library as it comes, one process per node, values in memory only."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.bench import Bench, BenchError
from benchmarks.figures import Sample, seconds, spread
from benchmarks.programs import running
from benchmarks.results import Comparison
from benchmarks.rows.start import idle_percent
from benchmarks.usage import pss_mib

NAME: Final = "stock kademlia"
ROWS: Final = ("start", "memory", "idle", "get", "get-after-kill", "writes")

_START_TIMEOUT_S: Final = 60.0
_ORDER_TIMEOUT_S: Final = 120.0
_VALUE: Final = "v" * 1024


@dataclass(slots=True)
class Node:
    """One node: its process and the connection that drives it."""

    pid: int
    port: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def do(self, what: str, **order: Any) -> dict[str, Any]:
        """Give one order and return its result.

        Raises:
            BenchError: The node is gone or does not answer.
        """
        async with self.turn:
            self.writer.write(json.dumps({"do": what, **order}).encode() + b"\n")
            try:
                async with asyncio.timeout(_ORDER_TIMEOUT_S):
                    line = await self.reader.readline()
            except TimeoutError as error:
                raise BenchError(f"stock kademlia: {what} did not end within {_ORDER_TIMEOUT_S:g} s") from error
        if not line:
            raise BenchError("a node of stock kademlia ended")
        return dict(json.loads(line))


async def measure(bench: Bench, rows: Sequence[str]) -> list[Comparison]:
    """Measure the wanted rows on one network."""
    count = bench.size(50, 6)
    began = time.perf_counter()
    found: list[Comparison] = []
    async with _started(count) as nodes:
        for node in nodes[1:]:
            await node.do("bootstrap", port=nodes[0].port)
        start_s = time.perf_counter() - began
        if "start" in rows:
            text = f"{seconds(start_s)} for {count} nodes to bootstrap"
            found.append(_comparison("start", text, lead=start_s, note="no leader, no check that tables are complete"))
        if "memory" in rows:
            sample = Sample.of([pss_mib(node.pid) for node in nodes])
            text = f"mean {sample.mean:.1f} MiB"
            found.append(_comparison("memory", text, lead=sample.mean, note="no HTTP, no disk"))
        if "idle" in rows:
            percent = await idle_percent([node.pid for node in nodes], bench.size(20, 1))
            note = "no liveness checks at all, so nothing to do"
            found.append(_comparison("idle", f"{percent:.2f} % of a core per node", lead=percent, note=note))
        if {"get", "get-after-kill"} & set(rows):
            found += await _gets(bench, nodes, rows)
    if "writes" in rows:
        found.append(await _writes(bench, count))
    return found


@asynccontextmanager
async def _started(count: int) -> AsyncIterator[list[Node]]:
    """Give nodes that do not know each other yet."""
    command = [sys.executable, "-m", "benchmarks.beside.kademlia_nodes", str(count)]
    nodes: list[Node] = []
    async with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                while len(nodes) < count:
                    line = await process.stdout.readline()
                    if not line.startswith(b"{"):
                        raise BenchError(f"stock kademlia did not start: {line.decode().strip()}")
                    facts = json.loads(line)
                    streams = await asyncio.open_connection("127.0.0.1", facts["control"])
                    nodes.append(Node(facts["pid"], facts["port"], *streams))
            yield nodes
        finally:
            for node in nodes:
                node.writer.close()


async def _gets(bench: Bench, nodes: list[Node], rows: Sequence[str]) -> list[Comparison]:
    """Time reads of keys that the reader does not hold; then kill 30 % and read on for a second."""
    keys = [f"key-{number}" for number in range(bench.size(200, 10))]
    for key in keys:
        await bench.random.choice(nodes).do("set", key=key, value=_VALUE)
    found: list[Comparison] = []
    if "get" in rows:
        durations = []
        for _ in range(bench.size(1000, 20)):
            answer = await bench.random.choice(nodes).do("get", key=bench.random.choice(keys))
            if not answer.get("held"):
                durations.append(answer["s"])
        text = spread(Sample.of(durations)) if durations else "every node holds every key"
        found.append(
            _comparison(
                "get",
                text,
                lead=Sample.of(durations).p50 if durations else None,
                note="measured inside the reading process, without an API; no version, no signature is checked",
            )
        )
    if "get-after-kill" in rows:
        found.append(await _get_after_kill(bench, nodes, keys))
    return found


async def _get_after_kill(bench: Bench, nodes: list[Node], keys: list[str]) -> Comparison:
    victims = bench.random.sample(nodes, round(0.3 * len(nodes)))
    survivors = [node for node in nodes if node not in victims]
    for node in victims:
        os.kill(node.pid, signal.SIGKILL)
    ends = time.perf_counter() + 1.0
    durations: list[float] = []
    missed = 0

    async def read() -> None:
        nonlocal missed
        while time.perf_counter() < ends:
            answer = await bench.random.choice(survivors).do("get", key=bench.random.choice(keys))
            if answer.get("result") == _VALUE:
                durations.append(answer["s"])
            else:
                missed += 1

    await asyncio.gather(*(read() for _ in range(4)))
    sample = Sample.of(durations)
    return _comparison(
        "get-after-kill",
        f"{len(durations)} of {len(durations) + missed} found, {spread(sample)}",
        lead=sample.p99,
        note=f"{len(victims)} of {len(nodes)} killed at once, reads that began within a second, one round",
    )


async def _writes(bench: Bench, count: int) -> Comparison:
    """Send 1,000 writes at once to a fresh network, spread over all nodes."""
    writes = bench.size(1000, 20)
    async with _started(count) as nodes:
        for node in nodes[1:]:
            await node.do("bootstrap", port=nodes[0].port)
        ports = [node.writer.get_extra_info("peername")[1] for node in nodes]
        began = time.perf_counter()
        results = await asyncio.gather(*(_set_alone(ports[number % count], number) for number in range(writes)))
        took_s = time.perf_counter() - began
    stored = sum(result.get("result") is True for result in results)
    return _comparison(
        "writes",
        f"{stored} of {writes} said to be stored in {seconds(took_s)}",
        lead=took_s if stored == writes else None,
        note="`set` says true once a single node took it; in memory only; where holders are k = 20",
    )


async def _set_alone(control_port: int, number: int) -> dict[str, Any]:
    """Set a key over a connection of its own, so that all are under way at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", control_port)
    try:
        return await Node(0, 0, reader, writer).do("set", key=f"write-{number}", value=_VALUE)
    except BenchError as error:
        return {"error": str(error)}
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _comparison(row: str, measured: str, *, lead: float | None, note: str) -> Comparison:
    return Comparison(system=NAME, row=row, measured=measured, lead=lead, notes=(note,), figures={"lead": lead})
