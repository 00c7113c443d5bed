"""How fast values are read from elsewhere, read while peers are dying, and written all at once."""

import asyncio
import json
import signal
import time
from collections import Counter
from typing import Any, Final

from benchmarks.bench import Bench, BenchError
from benchmarks.figures import Sample, seconds, spread
from benchmarks.pair_network import PairNetwork, PeerRow, kv_path, started
from benchmarks.results import Outcome
from benchmarks.stored import holders_on_disk
from benchmarks.wire import Client

VALUE_SIZE_BYTES: Final = 1024
WRITES_TIMEOUT_S: Final = 60
"""A thousand writes of eight copies each are some ten seconds of work for two cores: a client that sends them all at
once has to say that it waits."""

WRITES: Final = 1000
HOLDERS: Final = 8
"""k of the networks measured here, the default of ``pair up``."""

SPREAD_S: Final = 5
"""Each write must lie on k live holders this long after the last acknowledgement."""

GET_MUST_S: Final = (0.001, 0.005)
GET_GOAL_S: Final = (0.0003, 0.002)
"""Median and 99th percentile."""

AFTER_KILL_MUST_S: Final = 0.25
AFTER_KILL_GOAL_S: Final = 0.025

CALM_S: Final = 10
"""Between a return and the next kill: for two seconds all holders are asked for what a peer that came back may have
missed, and it gets its copies; the kill is to meet a calm network, as in the rows of failover."""

_READERS: Final = 4
"""Readers at the same time right after the kill."""


async def measure_get(bench: Bench) -> Outcome:
    """Read keys through peers that hold no copy, one read at a time, over kept-alive connections."""
    peers, reads = bench.size(50, 12), bench.size(2000, 40)
    async with started(bench, peers) as network:
        holders = await _written(bench, network, bench.size(300, 20))
        plan = _reads_elsewhere(bench, network, holders, reads)
        for peer in network.peers:
            await network.ask(peer, "/v1/health")
        floor = Sample.of([await _health_s(network, peer) for peer, _ in plan])
        client_s = Sample.of([await _read_s(network, peer, key) for peer, key in plan])
        explains = [await _explained(network, peer, key) for peer, key in plan[: reads // 2]]
    asked = Sample.of([row["ms"] / 1000 for row in explains])
    return Outcome(
        measured=f"by the API's client: {spread(client_s)}; peer to holder: {spread(asked)}",
        must=client_s.p50 <= GET_MUST_S[0] and client_s.p99 <= GET_MUST_S[1],
        goal=client_s.p50 <= GET_GOAL_S[0] and client_s.p99 <= GET_GOAL_S[1],
        lead=client_s.p50,
        notes=(
            f"N = {peers}, values of {VALUE_SIZE_BYTES} bytes, peers that hold no copy; the verdict is on the whole "
            "request as its client sees it; `peer to holder` is the time in Pair-Explain, from the asked peer's "
            f"question to the holder's answer; an empty request (/v1/health) takes its client {spread(floor)}",
        ),
        figures={"client_s": client_s.document(), "peer_s": asked.document(), "health_s": floor.document()},
    )


async def measure_get_after_kill(bench: Bench) -> Outcome:
    """Kill 30 % of the peers at once, and read through the others from that moment on for a second."""
    peers, rounds = bench.size(50, 5), bench.size(5, 1)
    durations: list[float] = []
    lost: list[str] = []
    unreachable = 0
    async with started(bench, peers) as network:
        holders = await _written(bench, network, bench.size(300, 20))
        for _ in range(rounds):
            victims = bench.random.sample(network.peers, round(0.3 * peers))
            gone = {peer.id for peer in victims}
            keys = [key for key, ids in holders.items() if not set(ids) <= gone]
            unreachable += len(holders) - len(keys)
            survivors = [peer for peer in network.peers if peer not in victims]
            for peer in survivors:
                await network.ask(peer, "/v1/health")
            for peer in victims:
                network.send_signal(peer, signal.SIGKILL)
            found, missed = await _read_for(bench, network, survivors, keys, duration_s=1.0)
            durations += found
            lost += missed
            bench.say(f"{len(found)} reads in the second after {len(victims)} kills, {len(missed)} without a value")
            await network.up(peers)
            await network.settled()
            await asyncio.sleep(bench.size(CALM_S, 0))
    sample = Sample.of(durations)
    return Outcome(
        measured=f"{len(durations)} of {len(durations) + len(lost)} found, {spread(sample)}",
        must=not lost and sample.p99 <= AFTER_KILL_MUST_S,
        goal=not lost and sample.p99 <= AFTER_KILL_GOAL_S,
        lead=sample.p99,
        notes=(
            f"{rounds} rounds, {round(0.3 * peers)} of {peers} killed at once, {_READERS} readers, each read through "
            f"a random survivor; {CALM_S} s of calm before the next round; keys left out because every holder was "
            f"killed: {unreachable}"
            + (f"; first failures: {'; '.join(lost[:3])}" if lost else ""),
        ),
        figures={"client_s": sample.document(), "found": len(durations), "missed": len(lost)},
    )


async def measure_writes(bench: Bench) -> Outcome:
    """Send all writes at the same moment, spread over all peers; then look on every peer's disk."""
    peers, writes = bench.size(50, 4), bench.size(WRITES, 40)
    async with started(bench, peers) as network:
        keys = [f"write-{number:04}" for number in range(writes)]
        value = bench.random.randbytes(VALUE_SIZE_BYTES)
        clients = [network.new_client(network.peers[number % peers]) for number in range(writes)]
        for client in clients:
            await client.connect()
        began = time.perf_counter()
        answers = await asyncio.gather(
            *(_put_s(client, key, value) for client, key in zip(clients, keys, strict=True))
        )
        took_s = time.perf_counter() - began
        for client in clients:
            client.close()
        acknowledged = [key for key, (refusal, _) in zip(keys, answers, strict=True) if not refusal]
        await asyncio.sleep(bench.size(SPREAD_S, 1))
        found = holders_on_disk(network, acknowledged)
    refusals = Counter(refusal for refusal, _ in answers if refusal)
    wanted = min(HOLDERS, peers)
    thin = [key for key in acknowledged if len(found[key]) < wanted]
    sample = Sample.of([duration_s for _, duration_s in answers])
    return Outcome(
        measured=f"{len(acknowledged)} of {writes} acknowledged in {seconds(took_s)}; "
        f"{len(acknowledged) - len(thin)} on {wanted} or more disks after 5 s",
        must=len(acknowledged) == writes and not thin,
        lead=took_s,
        notes=(
            f"N = {peers}, {writes} connections, {writes // peers} writes through each peer, all sent at once, each "
            f"with {WRITES_TIMEOUT_S} s; one write: {spread(sample)}; copies are counted in every running peer's "
            "records.sqlite"
            + (f"; other answers: {dict(refusals.most_common(3))}" if refusals else ""),
        ),
        figures={
            "took_s": took_s,
            "write_s": sample.document(),
            "acknowledged": len(acknowledged),
            "below_k": len(thin),
            "fewest_copies": min((len(peers_of) for peers_of in found.values()), default=0),
        },
    )


async def _written(bench: Bench, network: PairNetwork, count: int) -> dict[str, list[str]]:
    """Write so many keys through random peers; return the ids of the peers that confirmed each."""
    holders = {}
    for number in range(count):
        key = f"key-{number:04}"
        response = await network.put(
            bench.random.choice(network.peers), key, bench.random.randbytes(VALUE_SIZE_BYTES)
        )
        if response.status != 200:
            raise BenchError(f"put {key}: {response.status} {response.body.decode()}")
        holders[key] = response.document()["holders"]
    # Late holders of the last writes are still at work when the majority has confirmed.
    await asyncio.sleep(1)
    return holders


def _reads_elsewhere(
    bench: Bench, network: PairNetwork, holders: dict[str, list[str]], count: int
) -> list[tuple[PeerRow, str]]:
    """Return random pairs of a key and a peer on whose disk it does not lie."""
    on_disk = holders_on_disk(network, list(holders))
    pairs = [(peer, key) for key in holders for peer in network.peers if peer.id not in on_disk[key]]
    if not pairs:
        raise BenchError("every peer holds every key: nothing can be read from elsewhere")
    return bench.random.choices(pairs, k=count)


async def _read_s(network: PairNetwork, peer: PeerRow, key: str) -> float:
    began = time.perf_counter()
    response = await network.get(peer, key)
    took_s = time.perf_counter() - began
    if response.status != 200:
        raise BenchError(f"get {key} through {peer.name}: {response.status} {response.body.decode()}")
    return took_s


async def _health_s(network: PairNetwork, peer: PeerRow) -> float:
    began = time.perf_counter()
    await network.client(peer).request("GET", "/v1/health")
    return time.perf_counter() - began


async def _explained(network: PairNetwork, peer: PeerRow, key: str) -> Any:
    """Return the row of the holder whose answer counted."""
    response = await network.get(peer, key, explain=True)
    asked = json.loads(response.headers["pair-explain"])["asked"]
    found = [row for row in asked if row["answer"] == "found"]
    if not found or any(row["id"] == peer.id and row["answer"] == "found" for row in asked):
        raise BenchError(f"get {key} through {peer.name} was not answered by another peer: {asked}")
    return min(found, key=lambda row: row["ms"])


async def _read_for(
    bench: Bench, network: PairNetwork, survivors: list[PeerRow], keys: list[str], *, duration_s: float
) -> tuple[list[float], list[str]]:
    """Read random keys through random survivors; return how long each took, and what was not found."""
    durations: list[float] = []
    missed: list[str] = []
    ends = time.perf_counter() + duration_s

    async def read(clients: dict[str, Client]) -> None:
        while time.perf_counter() < ends:
            peer, key = bench.random.choice(survivors), bench.random.choice(keys)
            client = clients.setdefault(peer.id, network.new_client(peer))
            await client.connect()
            began = time.perf_counter()
            try:
                response = await client.request("GET", kv_path(key))
            except OSError as error:
                missed.append(f"{key} through {peer.name}: {error!r}")
                continue
            if response.status == 200:
                durations.append(time.perf_counter() - began)
            else:
                missed.append(f"{key} through {peer.name}: {response.status} {response.body.decode()[:200]}")

    pools: list[dict[str, Client]] = [{} for _ in range(_READERS)]
    await asyncio.gather(*(read(pool) for pool in pools))
    for pool in pools:
        for client in pool.values():
            client.close()
    return durations, missed


async def _put_s(client: Client, key: str, value: bytes) -> tuple[str, float]:
    """Write; return why it was not acknowledged, the empty string if it was, and how long it took."""
    began = time.perf_counter()
    refusal = ""
    try:
        response = await client.request(
            "PUT",
            kv_path(key),
            body=value,
            headers={"Pair-Timeout": f"{WRITES_TIMEOUT_S}"},
            timeout_s=WRITES_TIMEOUT_S + 5,
        )
        if response.status != 200:
            refusal = f"{response.status} {response.document().get('detail')}"
    except OSError as error:
        refusal = f"no answer: {error!r}"
    return refusal, time.perf_counter() - began
