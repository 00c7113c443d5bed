"""Whether an acknowledged write can be lost by killing peers, one after the other or all at once.

Writers put new keys and overwrite old ones through random peers, while random peers are killed and restarted. Only
what was acknowledged counts. A write without an answer may appear later or not; of a key whose last writes had no
answer, any of these values or the last acknowledged one is right.
"""

import asyncio
import contextlib
import signal
from dataclasses import dataclass, field
from typing import Final

from benchmarks.bench import Bench
from benchmarks.pair_network import PairNetwork, kv_path, started
from benchmarks.results import Outcome

_WRITERS: Final = 4
_KEYS_OF_WRITER_MAX: Final = 500
"""Beyond it only old keys are written: everything is read back three times, once through every peer."""

_READERS: Final = 8
_WRITER_PAUSE_S: Final = 0.01
"""Between two writes of one writer: load, but not so much that a restart finds no processor."""

_OVERWRITE_SHARE: Final = 0.3
_WRITE_TIMEOUT_S: Final = 5.0


@dataclass(slots=True)
class Ledger:
    """What each key may hold now."""

    allowed: dict[str, list[bytes]] = field(default_factory=dict)
    """Key → the last acknowledged value and those of later writes without an answer."""

    acknowledged: int = 0
    unknown: int = 0

    def note(self, key: str, value: bytes, *, is_acknowledged: bool) -> None:
        """Remember the end of a write; one key is written by one writer, one write at a time."""
        if is_acknowledged:
            self.allowed[key] = [value]
            self.acknowledged += 1
        else:
            self.unknown += 1
            if key in self.allowed:
                self.allowed[key].append(value)


async def measure_lost(bench: Bench) -> Outcome:
    """Kill under load, then stop and start all, and read back everything each time."""
    peers, cycles = bench.size(10, 4), bench.size(100, 2)
    lost: dict[str, list[str]] = {}
    async with started(bench, peers) as network:
        ledger = await _killed_under_load(bench, network, cycles)
        await network.settled()
        lost["after the kills"] = await _missing(bench, network, ledger)
        for peer in network.peers:
            network.send_signal(peer, signal.SIGKILL)
        await network.up(peers)
        await network.settled()
        lost["after all were killed at once"] = await _missing(bench, network, ledger)
        await network.pair("down")
        await network.up(peers)
        await network.settled()
        lost["after a stop and a start of all"] = await _missing(bench, network, ledger, through_all=True)
    total = sum(len(keys) for keys in lost.values())
    return Outcome(
        measured=f"{total} of {ledger.acknowledged} acknowledged writes ({len(ledger.allowed)} keys)",
        must=total == 0,
        goal=total == 0,
        lead=float(total),
        notes=(
            f"N = {peers}, {cycles} cycles of kill -9 and restart, {_WRITERS} writers; {ledger.unknown} writes had no "
            "answer; read back after the kills, after a kill -9 of all, and after a stop of all (through each peer)",
            *(f"{when}: {'; '.join(keys[:3])}" for when, keys in lost.items() if keys),
        ),
        figures={
            "lost": {when: len(keys) for when, keys in lost.items()},
            "acknowledged": ledger.acknowledged,
            "unknown": ledger.unknown,
            "keys": len(ledger.allowed),
        },
    )


async def _killed_under_load(bench: Bench, network: PairNetwork, cycles: int) -> Ledger:
    ledger = Ledger()
    async with asyncio.TaskGroup() as group:
        writers = [group.create_task(_write(bench, network, ledger, number)) for number in range(_WRITERS)]
        try:
            for cycle in range(cycles):
                victim = bench.random.choice(network.peers)
                await asyncio.sleep(bench.random.uniform(0, 0.5))
                network.send_signal(victim, signal.SIGKILL)
                await asyncio.sleep(bench.random.uniform(0, 0.5))
                await network.restart(victim.name)
                if cycle % 10 == 9:
                    bench.say(f"{cycle + 1} kills, {ledger.acknowledged} writes acknowledged, {ledger.unknown} unknown")
        finally:
            for writer in writers:
                writer.cancel()
    return ledger


async def _write(bench: Bench, network: PairNetwork, ledger: Ledger, number: int) -> None:
    """Write through random peers until cancelled; a write that is cut off counts as one without an answer."""
    keys: list[str] = []
    while True:
        is_old = len(keys) >= _KEYS_OF_WRITER_MAX or (keys and bench.random.random() < _OVERWRITE_SHARE)
        key = bench.random.choice(keys) if is_old else f"writer-{number}-{len(keys):05}"
        if not is_old:
            keys.append(key)
        value = bench.random.randbytes(bench.random.randrange(1, 2048))
        is_acknowledged = was_sent = False
        client = network.new_client(bench.random.choice(network.peers))
        try:
            with contextlib.suppress(OSError):
                await client.connect()
                was_sent = True
                response = await client.request("PUT", kv_path(key), body=value, timeout_s=_WRITE_TIMEOUT_S)
                is_acknowledged = response.status == 200
        finally:
            client.close()
            if was_sent:
                ledger.note(key, value, is_acknowledged=is_acknowledged)
        await asyncio.sleep(_WRITER_PAUSE_S)


async def _missing(
    bench: Bench, network: PairNetwork, ledger: Ledger, *, through_all: bool = False
) -> list[str]:
    """Return what of the ledger cannot be read back, through one random peer or through each."""
    reads = iter(
        [
            (key, peer)
            for key in ledger.allowed
            for peer in (network.peers if through_all else [bench.random.choice(network.peers)])
        ]
    )
    missing: list[str] = []

    async def read() -> None:
        clients = {peer.id: network.new_client(peer) for peer in network.peers}
        for key, peer in reads:
            response = await clients[peer.id].request("GET", kv_path(key))
            if response.status != 200 or response.body not in ledger.allowed[key]:
                missing.append(f"{key} through {peer.name}: {response.status}, {len(response.body)} bytes")
        for client in clients.values():
            client.close()

    await asyncio.gather(*(read() for _ in range(_READERS)))
    return missing
