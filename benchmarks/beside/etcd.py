"""etcd, three nodes, as it comes: consensus over Raft, every write durable on a majority.

Asked through its own JSON gateway over kept-alive connections, like Pair through its HTTP API. Three nodes are the
size that etcd is made for; Pair's figures beside are those of 5 to 50 peers.
"""

import asyncio
import base64
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import Bench, BenchError
from benchmarks.figures import Sample, seconds, spread
from benchmarks.programs import free_ports, installed, running
from benchmarks.results import Comparison
from benchmarks.rows.start import idle_percent
from benchmarks.usage import pss_mib
from benchmarks.wire import Client

NAME: Final = "etcd, 3 nodes"
ROWS: Final = ("start", "memory", "idle", "kill", "stop", "get", "writes", "lost")

_START_TIMEOUT_S: Final = 30.0
_ELECT_TIMEOUT_S: Final = 20.0
_POLL_S: Final = 0.005
"""Two survivors are asked this often, each over a kept-alive connection: 400 small requests in a second."""

_VALUE: Final = bytes(1024)


@dataclass(slots=True)
class EtcdNode:
    """One node of the cluster."""

    name: str
    command: list[str]
    client: Client
    process: asyncio.subprocess.Process
    running: AsyncExitStack
    """Ends the process."""


class Etcd:
    """A cluster of three."""

    def __init__(self, nodes: list[EtcdNode]) -> None:
        self.nodes = nodes

    async def ask(self, node: EtcdNode, path: str, body: dict[str, Any], *, timeout_s: float = 5.0) -> Any:
        """Return the answer of one node, None when it gives none."""
        try:
            text = json.dumps(body).encode()
            response = await node.client.request("POST", f"/v3/{path}", body=text, timeout_s=timeout_s)
        except OSError:
            return None
        return response.document() if response.status == 200 else None

    async def leader(self, nodes: list[EtcdNode], *, other_than: str = "", pause_s: float = _POLL_S) -> EtcdNode:
        """Wait until these nodes follow one leader; return it."""
        ends = time.monotonic() + _ELECT_TIMEOUT_S
        while time.monotonic() < ends:
            statuses = [await self.ask(node, "maintenance/status", {}) for node in nodes]
            leaders = {status.get("leader", "0") if status else "0" for status in statuses}
            if len(leaders) == 1 and not leaders & {"0", other_than}:
                return await self._node(leaders.pop(), nodes)
            await asyncio.sleep(pause_s)
        raise BenchError(f"etcd: no leader within {_ELECT_TIMEOUT_S:g} s")

    async def _node(self, member_id: str, nodes: list[EtcdNode]) -> EtcdNode:
        members = (await self.ask(nodes[0], "cluster/member/list", {}))["members"]
        name = next(member["name"] for member in members if member["ID"] == member_id)
        return next(node for node in self.nodes if node.name == name)

    async def id_of(self, node: EtcdNode) -> str:
        """Return the member id of a node."""
        status = await self.ask(node, "maintenance/status", {})
        return str(status["header"]["member_id"])

    async def restart(self, node: EtcdNode) -> None:
        """Start a killed node again."""
        await node.running.aclose()
        node.process = await node.running.enter_async_context(running(node.command))

    async def put(self, node: EtcdNode, key: str, value: bytes) -> bool:
        """Write through a node; return whether it was acknowledged."""
        return await self.ask(node, "kv/put", {"key": _b64(key.encode()), "value": _b64(value)}) is not None

    async def get(self, node: EtcdNode, key: str) -> bytes | None:
        """Read through a node (linearizable, the default)."""
        answer = await self.ask(node, "kv/range", {"key": _b64(key.encode())})
        found = (answer or {}).get("kvs")
        return base64.b64decode(found[0]["value"]) if found else None


async def measure(bench: Bench, rows: Sequence[str]) -> list[Comparison]:
    """Measure the wanted rows on one cluster."""
    program = installed("etcd")
    if program is None:
        raise BenchError("not installed here")
    found: list[Comparison] = []
    began = time.perf_counter()
    async with _started(bench, program) as etcd:
        start_s = time.perf_counter() - began
        if "start" in rows:
            note = "until all three say that they follow the same leader"
            found.append(_comparison("start", f"{seconds(start_s)} for 3 nodes", lead=None, note=note))
        if {"memory", "idle"} & set(rows):
            found += await _costs(bench, etcd, rows)
        if "get" in rows:
            found.append(await _gets(bench, etcd))
        if "writes" in rows:
            found.append(await _writes(bench, etcd))
        for row, fault in (("kill", signal.SIGKILL), ("stop", signal.SIGSTOP)):
            if row in rows:
                found.append(await _failover(bench, etcd, row, fault))
        if "lost" in rows:
            found.append(await _lost(bench, etcd))
    return found


@asynccontextmanager
async def _started(bench: Bench, program: str) -> AsyncIterator[Etcd]:
    ports = free_ports(6)
    names = ("etcd-1", "etcd-2", "etcd-3")
    cluster = ",".join(f"{name}=http://127.0.0.1:{ports[2 * i]}" for i, name in enumerate(names))
    nodes: list[EtcdNode] = []
    async with AsyncExitStack() as stack:
        for i, name in enumerate(names):
            command = _command(program, name, ports[2 * i], ports[2 * i + 1], cluster, bench.folder)
            owner = await stack.enter_async_context(AsyncExitStack())
            process = await owner.enter_async_context(running(command))
            nodes.append(EtcdNode(name, command, Client(f"http://127.0.0.1:{ports[2 * i + 1]}"), process, owner))
        etcd = Etcd(nodes)
        await etcd.leader(nodes, pause_s=0.02)
        try:
            yield etcd
        finally:
            for node in nodes:
                node.client.close()


def _command(program: str, name: str, peer_port: int, client_port: int, cluster: str, folder: Path) -> list[str]:
    return [
        program,
        f"--name={name}",
        f"--data-dir={folder / name}",
        f"--listen-peer-urls=http://127.0.0.1:{peer_port}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer_port}",
        f"--listen-client-urls=http://127.0.0.1:{client_port}",
        f"--advertise-client-urls=http://127.0.0.1:{client_port}",
        f"--initial-cluster={cluster}",
        "--initial-cluster-token=bench",
        "--log-level=error",
    ]


async def _costs(bench: Bench, etcd: Etcd, rows: Sequence[str]) -> list[Comparison]:
    pids = [node.process.pid for node in etcd.nodes]
    found = []
    if "memory" in rows:
        sample = Sample.of([pss_mib(pid) for pid in pids])
        text = f"mean {sample.mean:.1f} MiB"
        found.append(_comparison("memory", text, lead=sample.mean, note="3 nodes, just started"))
    if "idle" in rows:
        await asyncio.sleep(bench.size(5, 0))
        percent = await idle_percent(pids, bench.size(20, 1))
        found.append(_comparison("idle", f"{percent:.2f} % of a core per node", lead=percent, note="3 nodes"))
    return found


async def _gets(bench: Bench, etcd: Etcd) -> Comparison:
    leader = await etcd.leader(etcd.nodes)
    followers = [node for node in etcd.nodes if node is not leader]
    keys = [f"key-{number}" for number in range(bench.size(200, 10))]
    for key in keys:
        await etcd.put(leader, key, _VALUE)
    durations = []
    for _ in range(bench.size(1000, 20)):
        node, key = bench.random.choice(followers), bench.random.choice(keys)
        began = time.perf_counter()
        if await etcd.get(node, key) != _VALUE:
            raise BenchError("etcd did not return what was put")
        durations.append(time.perf_counter() - began)
    sample = Sample.of(durations)
    note = "through a follower, linearizable: it holds the value and asks the leader whether it is the newest"
    return _comparison("get", spread(sample), lead=sample.p50, note=note)


async def _writes(bench: Bench, etcd: Etcd) -> Comparison:
    writes = bench.size(1000, 20)
    clients = [Client(etcd.nodes[i % 3].client.url) for i in range(writes)]
    for client in clients:
        await client.connect()

    async def put(number: int) -> bool:
        body = json.dumps({"key": _b64(f"write-{number}".encode()), "value": _b64(_VALUE)}).encode()
        try:
            return (await clients[number].request("POST", "/v3/kv/put", body=body, timeout_s=30)).status == 200
        except OSError:
            return False

    began = time.perf_counter()
    results = await asyncio.gather(*(put(number) for number in range(writes)))
    took_s = time.perf_counter() - began
    for client in clients:
        client.close()
    note = "each on the disks of at least 2 of 3 nodes when acknowledged (Pair: all living of 8, or a majority)"
    text = f"{sum(results)} of {writes} acknowledged in {seconds(took_s)}"
    return _comparison("writes", text, lead=took_s if all(results) else None, note=note)


async def _failover(bench: Bench, etcd: Etcd, row: str, fault: signal.Signals) -> Comparison:
    durations = []
    for _ in range(bench.size(10, 1)):
        leader = await etcd.leader(etcd.nodes)
        gone = await etcd.id_of(leader)
        survivors = [node for node in etcd.nodes if node is not leader]
        await asyncio.sleep(bench.random.uniform(0, 0.5))
        began = time.perf_counter()
        os.kill(leader.process.pid, fault)
        try:
            await etcd.leader(survivors, other_than=gone)
            durations.append(time.perf_counter() - began)
        finally:
            if fault is signal.SIGSTOP:
                os.kill(leader.process.pid, signal.SIGCONT)
        if fault is signal.SIGKILL:
            await etcd.restart(leader)
    sample = Sample.of(durations)
    note = f"2 survivors asked every {_POLL_S * 1000:.0f} ms; default election timeout of 1 s"
    return _comparison(row, spread(sample), lead=sample.p50, note=note)


async def _lost(bench: Bench, etcd: Etcd) -> Comparison:
    """Write through living nodes while random nodes are killed and restarted; read all back."""
    acknowledged: dict[str, bytes] = {}
    cycles = bench.size(10, 1)
    for cycle in range(cycles):
        victim = bench.random.choice(etcd.nodes)
        os.kill(victim.process.pid, signal.SIGKILL)
        for number in range(bench.size(50, 5)):
            key, value = f"kept-{cycle}-{number}", bench.random.randbytes(100)
            node = bench.random.choice([node for node in etcd.nodes if node is not victim])
            if await etcd.put(node, key, value):
                acknowledged[key] = value
        await etcd.restart(victim)
        await etcd.leader(etcd.nodes)
    lost = sum([await etcd.get(etcd.nodes[0], key) != value for key, value in acknowledged.items()])
    note = f"{cycles} cycles of kill -9 and restart"
    return _comparison("lost", f"{lost} of {len(acknowledged)}", lead=float(lost), note=note)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _comparison(row: str, measured: str, *, lead: float | None, note: str) -> Comparison:
    return Comparison(system=NAME, row=row, measured=measured, lead=lead, notes=(note,), figures={"lead": lead})
