"""How long the network is without a common leader after the leader was killed, or fell silent.

Nobody watches meanwhile: each survivor remembers since when it follows its leader, and is asked afterwards. The
time is that of the last survivor. Polling forty peers every millisecond would measure the polling.
"""

import asyncio
import signal
import time
from typing import Any, Final

from benchmarks.bench import Bench, BenchError
from benchmarks.figures import Sample, spread
from benchmarks.pair_network import PairNetwork, PeerRow, seconds_of, started
from benchmarks.results import Outcome

KILL_MUST_S: Final = (0.3, 1.5)
KILL_GOAL_S: Final = (0.05, 0.25)
STOP_MUST_S: Final = (1.5, 3.0)
STOP_GOAL_S: Final = (0.4, float("inf"))
"""Median and maximum."""

_QUIET_S: Final = 0.7
"""Time after the fault in which nobody is asked anything."""

_PHASE_S: Final = 0.5
"""The fault comes at a random moment within this time, so that it meets every phase of the timers."""

_FOLLOW_TIMEOUT_S: Final = 20.0


async def measure_kill(bench: Bench) -> Outcome:
    """Kill the leader with SIGKILL, over and over; restart each victim and wait until all is calm."""
    return await _measure(bench, signal.SIGKILL, must_s=KILL_MUST_S, goal_s=KILL_GOAL_S)


async def measure_stop(bench: Bench) -> Outcome:
    """Stop the leader with SIGSTOP, over and over; let each victim go on and wait until all is calm."""
    return await _measure(bench, signal.SIGSTOP, must_s=STOP_MUST_S, goal_s=STOP_GOAL_S)


async def _measure(
    bench: Bench, fault: signal.Signals, *, must_s: tuple[float, float], goal_s: tuple[float, float]
) -> Outcome:
    samples: dict[int, Sample] = {}
    for peers in (5, 40) if not bench.smoke else (4,):
        async with started(bench, peers) as network:
            delays: list[float] = []
            for turn in range(bench.size(50, 1)):
                delays.append(await _strike(bench, network, fault))
                if turn % 10 == 9:
                    bench.say(f"{fault.name}, N = {peers}: {spread(Sample.of(delays))}")
            samples[peers] = Sample.of(delays)
    largest = samples[max(samples)]
    return Outcome(
        measured="; ".join(f"N = {peers}: {spread(sample)}" for peers, sample in samples.items()),
        must=all(sample.p50 <= must_s[0] and sample.max <= must_s[1] for sample in samples.values()),
        goal=all(sample.p50 <= goal_s[0] and sample.max <= goal_s[1] for sample in samples.values()),
        lead=largest.p50,
        notes=(
            f"from {fault.name} to the last survivor's `since` of /v1/leader (±1 ms), asked {_QUIET_S:g} s later; "
            "random phase; each victim back and all calm before the next",
        ),
        figures={f"n{peers}_s": sample.document() for peers, sample in samples.items()},
    )


async def _strike(bench: Bench, network: PairNetwork, fault: signal.Signals) -> float:
    """Let the fault befall the leader; return how long the last survivor took to follow another, in seconds."""
    leader = await network.settled()
    survivors = [peer for peer in network.peers if peer.id != leader.id]
    await asyncio.sleep(bench.random.uniform(0, _PHASE_S))
    moment = network.send_signal(leader, fault)
    try:
        await asyncio.sleep(_QUIET_S)
        followed = await _all_follow_another(network, survivors, leader)
    finally:
        if fault is signal.SIGSTOP:
            network.send_signal(leader, signal.SIGCONT)
    if fault is signal.SIGKILL:
        await network.restart(leader.name)
    return max(seconds_of(document["since"]) for document in followed) - moment


async def _all_follow_another(network: PairNetwork, survivors: list[PeerRow], gone: PeerRow) -> list[Any]:
    """Wait until all survivors follow one leader that is not ``gone``; return what each says of it."""
    ends = time.monotonic() + _FOLLOW_TIMEOUT_S
    while time.monotonic() < ends:
        documents = await network.ask_all(survivors, "/v1/leader")
        leaders = {document["id"] if document else None for document in documents}
        if len(leaders) == 1 and not {None, gone.id} & leaders:
            return documents
        await asyncio.sleep(_QUIET_S)
    raise BenchError(f"the survivors of {gone.name} did not agree on a leader within {_FOLLOW_TIMEOUT_S:g} s")
