"""Whether peers that stand still most of the time make others look dead (Lifeguard 2017, section 5)."""

import asyncio
import contextlib
import signal
import time
from collections import Counter
from typing import Final

from benchmarks.bench import Bench
from benchmarks.pair_network import PairNetwork, PeerRow, started
from benchmarks.results import Outcome

STALL_S: Final = 2.0
RUN_S: Final = 0.05


async def measure_verdicts(bench: Bench) -> Outcome:
    """Stall some peers, all at the same time, and count what healthy peers are told about healthy peers."""
    peers, stalled_count = bench.size(40, 5), bench.size(8, 1)
    duration_s = bench.size(60, 2)
    async with started(bench, peers) as network:
        stalled = bench.random.sample(network.peers, stalled_count)
        healthy = [peer for peer in network.peers if peer not in stalled]
        counts: Counter[str] = Counter()
        async with asyncio.TaskGroup() as group:
            watches = [group.create_task(_count(network, peer, healthy, counts)) for peer in healthy]
            try:
                await _stall(network, stalled, duration_s)
                # Verdicts that were under way must not be missed.
                await asyncio.sleep(bench.size(10, 1))
            finally:
                for watch in watches:
                    watch.cancel()
        tables = await network.ask_all(healthy, "/v1/members")
    ids = {peer.id for peer in healthy}
    missing = sum(member["state"] in ("failed", "left") for table in tables for member in table if member["id"] in ids)
    wrong = counts["failed"] + counts["left"] + counts["cut off"] + missing
    return Outcome(
        measured=f"{wrong} ({counts['suspect']} suspicions at {len(healthy)} peers)",
        must=wrong == 0,
        goal=wrong == 0,
        lead=float(wrong),
        notes=(
            f"N = {peers}, {stalled_count} stalled {STALL_S:g} s of {STALL_S + RUN_S:g} s in step, {duration_s} s;"
            f" events `failed` and `left` about the {len(healthy)} healthy at each of them, and their tables then;"
            f" leader changes seen by all healthy peers together: {counts['leader']}; all events: {dict(counts)}",
        ),
        figures={"wrong": wrong, "events": dict(counts), "wrong_at_the_end": missing},
    )


async def _stall(network: PairNetwork, stalled: list[PeerRow], duration_s: float) -> None:
    """Stop and continue these peers in step; they run at the end, whatever happens."""
    ends = time.monotonic() + duration_s
    try:
        while time.monotonic() < ends:
            for peer in stalled:
                network.send_signal(peer, signal.SIGSTOP)
            await asyncio.sleep(STALL_S)
            for peer in stalled:
                network.send_signal(peer, signal.SIGCONT)
            await asyncio.sleep(RUN_S)
    finally:
        for peer in stalled:
            with contextlib.suppress(ProcessLookupError):
                network.send_signal(peer, signal.SIGCONT)


async def _count(network: PairNetwork, peer: PeerRow, healthy: list[PeerRow], counts: Counter[str]) -> None:
    """Count the events of one healthy peer; a stream that ends before it is closed is counted as well."""
    ids = {other.id for other in healthy}
    async for event in network.events_of(peer):
        if event.kind == "member":
            about = "" if event.document["id"] in ids else "stalled "
            counts[about + event.document["state"]] += 1
        elif event.kind == "leader":
            counts["leader"] += 1
    counts["cut off"] += 1
