"""Peers under attack from outside: forged datagrams without end, and connections that say nothing.

Whoever attacks has no key. What is measured is what the network's own users and members notice of it.
"""

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

from benchmarks.bench import Bench, BenchError
from benchmarks.figures import Sample, seconds, spread
from benchmarks.pair_network import PairNetwork, PeerRow, prepared, started
from benchmarks.results import Outcome
from benchmarks.wire import REQUEST_TIMEOUT_S

PEERS: Final = 5
FLOOD_RATE_PER_S: Final = 20_000
FLOOD_P99_MUST_S: Final = 0.1
FLOOD_P99_GOAL_S: Final = 0.02
ASKED_PER_S: Final = 50

CONNECTIONS: Final = 500
DESCRIPTORS_MAX: Final = 256
CLOSED_MUST_S: Final = 15.0
RECOVERED_MUST_S: Final = 2.0
_DRIP_S: Final = 0.5

_ROOT: Final = Path(__file__).resolve().parents[2]


async def measure_flood(bench: Bench) -> Outcome:
    """Send forged datagrams at one peer; ask it over HTTP meanwhile, and listen to what all say of each other."""
    duration_s, peers = bench.size(30, 2), bench.size(PEERS, 3)
    async with started(bench, peers) as network:
        target = network.peers[0]
        await network.put(target, "flood/before", b"value")
        await asyncio.sleep(bench.size(5, 1))
        calm = await _ask_until(network, target, asyncio.ensure_future(asyncio.sleep(bench.size(10, 1))))
        before, counted = await _state(network), await _datagrams(network, target)
        events: Counter[str] = Counter()
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(_watch(network, peer, events)) for peer in network.peers]
            try:
                sent, delays = await _asked_during_flood(bench, network, target, duration_s)
            finally:
                for watch in watches:
                    watch.cancel()
        after, recounted = await _state(network), await _datagrams(network, target)
    changed = [part for part in before if before[part] != after[part]]
    sample, quiet = Sample.of(delays), Sample.of(calm)
    refused = {name: recounted[name] - counted[name] for name in ("received", "refused", "throttled", "undecodable")}
    wrong, changes = events["failed"] + events["left"], len(changed) + events["leader"]
    fine = sample.p99 < FLOOD_P99_MUST_S and not wrong and not changes
    rate = sent / duration_s
    return Outcome(
        measured=f"{rate:,.0f}/s for {duration_s} s: API {spread(sample)}; {wrong} wrong verdicts, {changes} changes",
        must=fine and rate > 0.9 * FLOOD_RATE_PER_S,
        goal=fine and sample.p99 <= FLOOD_P99_GOAL_S,
        lead=sample.p99,
        notes=(
            f"without the flood, just before: {spread(quiet)}; N = {peers}; a third noise, a third in the name of"
            f" members, a third from unknown senders; the peer was asked {ASKED_PER_S} times a second (status, write"
            f" and read of its own in turn); datagrams at that peer: {refused}; suspicions {events['suspect']},"
            f" events {dict(events)}; compared before and after: {', '.join(before)}; changed: {changed or 'nothing'}",
        ),
        figures={
            "delay_s": sample.document(),
            "calm_delay_s": quiet.document(),
            "rate_per_s": rate,
            "datagrams": refused,
            "events": dict(events),
        },
    )


async def _asked_during_flood(
    bench: Bench, network: PairNetwork, target: PeerRow, duration_s: float
) -> tuple[int, list[float]]:
    run = json.loads((network.folder(target) / "run.json").read_text())
    known = [
        f"{found['id']}:{found['boot']}"
        for peer in network.peers
        if (found := json.loads((network.folder(peer) / "run.json").read_text()))
    ]
    port = run["address"].rpartition(":")[2]
    flood = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.flooding", port, str(duration_s), str(FLOOD_RATE_PER_S), str(bench.seed),
        *known, cwd=_ROOT, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        ending = asyncio.ensure_future(flood.communicate())
        delays = await _ask_until(network, target, ending)
        output, _ = await ending
    finally:
        if flood.returncode is None:
            flood.kill()
            await flood.wait()
    if flood.returncode != 0 or not delays:
        raise BenchError(f"the flood ended with {flood.returncode} after {len(delays)} requests")
    return int(output), delays


async def _ask_until(network: PairNetwork, target: PeerRow, ending: "asyncio.Future[Any]") -> list[float]:
    """Ask at fixed moments, whether or not the answer before was late, and return how long each took."""
    loop = asyncio.get_running_loop()
    clients = [network.new_client(target) for _ in range(4)]
    delays: list[float] = []
    begun, number = loop.time(), 0

    async def ask(turn: int) -> None:
        client = clients[turn % len(clients)]
        due = begun + turn / ASKED_PER_S
        if turn % 3 == 0:
            response = await client.request("GET", "/v1/status")
        elif turn % 3 == 1:
            response = await client.request("PUT", "/v1/kv/flood%2Fbefore", body=b"value")
        else:
            response = await client.request("GET", "/v1/kv/flood%2Fbefore")
        # Whoever is refused would try again and again: it counts as the longest wait.
        delays.append(loop.time() - due if response.status == 200 else REQUEST_TIMEOUT_S)

    async def ask_in_turn(offset: int) -> None:
        for turn in range(offset, sys.maxsize, len(clients)):
            await asyncio.sleep(max(0.0, begun + turn / ASKED_PER_S - loop.time()))
            if ending.done():
                return
            await ask(turn)

    async with asyncio.TaskGroup() as group:
        for number in range(len(clients)):
            group.create_task(ask_in_turn(number))
    for client in clients:
        client.close()
    return delays


async def _state(network: PairNetwork) -> dict[str, Any]:
    """Return what a forged datagram could change, as every peer sees it."""
    members = await network.ask_all(network.peers, "/v1/members")
    leaders = await network.ask_all(network.peers, "/v1/leader")
    listings = await network.ask_all(network.peers, "/v1/kv?prefix=")
    return {
        "members": [sorted((row["id"], row["state"], row["role"], row["address"]) for row in rows) for rows in members],
        "leader and term": [(leader["id"], leader["term"]) for leader in leaders],
        "keys": [sorted(entry["key"] for entry in listing) for listing in listings],
    }


async def _datagrams(network: PairNetwork, peer: PeerRow) -> dict[str, float]:
    """Return a peer's counters of datagrams."""
    response = await network.client(peer).request("GET", "/metrics")
    rows = [line.split() for line in response.body.decode().splitlines() if line.startswith("pair_datagrams_")]
    return {name.removeprefix("pair_datagrams_").removesuffix("_total"): float(value) for name, value in rows}


async def _watch(network: PairNetwork, peer: PeerRow, events: Counter[str]) -> None:
    async for event in network.events_of(peer):
        if event.kind == "member":
            events[event.document["state"]] += 1
        elif event.kind in ("leader", "role"):
            events["leader"] += 1


async def measure_slow_connections(bench: Bench) -> Outcome:
    """Open many connections to both ports of a peer that may open few files; drip into them, then leave."""
    count = bench.size(CONNECTIONS, 60)
    async with prepared(bench) as network:
        network.prefix = ("sh", "-c", f'ulimit -n {DESCRIPTORS_MAX} && exec "$@"', "sh")
        await network.up(3)
        await network.settled()
        target = network.peers[0]
        run = json.loads((network.folder(target) / "run.json").read_text())
        ports = [int(target.api.rpartition(":")[2]), int(run["address"].rpartition(":")[2])]
        bench.say(f"{count} connections that drip, half to each port")
        lives = await asyncio.gather(*(_drip(ports[number % 2], number % 2 == 1) for number in range(count)))
        bench.say("the same, and whoever is turned away comes again, for a while")
        leaving = asyncio.Event()
        comers = [
            asyncio.create_task(_come_again(ports[number % 2], number % 2 == 1, leaving)) for number in range(count)
        ]
        try:
            await asyncio.sleep(bench.size(10, 2))
            tables = await network.ask_all(network.peers[1:], "/v1/members")
            wrong = sum(row["state"] != "alive" for rows in tables for row in rows)
        finally:
            leaving.set()
            await asyncio.gather(*comers)
        began = time.monotonic()
        await _until_it_serves(network, target)
        recovered_s = time.monotonic() - began
        broken = "Traceback" in (network.folder(target) / "peer.log").read_text(errors="replace")
    longest_s = max(lives)
    fine = longest_s <= CLOSED_MUST_S and recovered_s < RECOVERED_MUST_S and not broken
    return Outcome(
        measured=(
            f"closed ≤ {seconds(longest_s)}, serves {seconds(recovered_s)} after they left, {wrong} wrong verdicts"
        ),
        must=fine and not wrong,
        lead=longest_s,
        notes=(
            f"{count} connections to the API and peer port of one peer with at most {DESCRIPTORS_MAX} descriptors;"
            f" each sends a byte of a request or handshake every {_DRIP_S:g} s; {'a' if broken else 'no'} traceback in"
            f" its log; {sum(life < 1 for life in lives)} were turned away within a second",
        ),
        figures={"life_s": Sample.of(lives).document(), "recovered_s": recovered_s, "wrong_verdicts": wrong},
    )


async def _drip(port: int, is_tls: bool) -> float:
    """Open a connection, send a byte now and then, and return how long the peer let that go on."""
    began = time.monotonic()
    message = b"\x16\x03\x01\x02\x00" + bytes(200) if is_tls else b"GET /v1/status HTTP/1.1\r\nX: " + b"a" * 200
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        began = time.monotonic()
        ended = asyncio.ensure_future(reader.read())
        try:
            for byte in message:
                writer.write(bytes([byte]))
                done, _ = await asyncio.wait([ended], timeout=_DRIP_S)
                if done:
                    break
        finally:
            ended.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await ended
            writer.transport.abort()
    return time.monotonic() - began


async def _come_again(port: int, is_tls: bool, leaving: asyncio.Event) -> None:
    while not leaving.is_set():
        dripping = asyncio.ensure_future(_drip(port, is_tls))
        left = asyncio.ensure_future(leaving.wait())
        await asyncio.wait([dripping, left], return_when=asyncio.FIRST_COMPLETED)
        for task in (dripping, left):
            task.cancel()
        await asyncio.gather(dripping, left, return_exceptions=True)
        await asyncio.sleep(0.05)


async def _until_it_serves(network: PairNetwork, peer: PeerRow) -> None:
    """Write and read through a peer until both work."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        client = network.new_client(peer)
        try:
            written = await client.request("PUT", "/v1/kv/slow", body=b"value", timeout_s=5)
            read = await client.request("GET", "/v1/kv/slow", timeout_s=5)
            if (written.status, read.status, read.body) == (200, 200, b"value"):
                return
        except OSError:
            pass
        finally:
            client.close()
        await asyncio.sleep(0.02)
    raise BenchError(f"{peer.name} did not serve again within a minute")
