"""What a process of its own measures about the simulator; each function is given to another process as it is."""

import asyncio
import gc
import random
import resource
import sys
import time
from dataclasses import dataclass
from typing import Final, cast

from benchmarks.dht_alone import Built, build
from simulations.burial import bury
from simulations.catalogue import SCENARIOS, Draw
from simulations.catalogue.entry import k_of
from simulations.cluster import Cluster
from simulations.looking import is_united
from simulations.mutations import Catch, hunt
from simulations.scenario import Scenario
from simulations.simulation import Simulation
from simulations.verdict import Verdict
from simulations.world.entropy import Entropy, installed
from simulations.world.loop import SimLoop
from simulations.world.network import Network
from simulations.world.process import Host

_PORT: Final = 9000
_BALL: Final = b"\x01" + bytes(63)
_ANSWER: Final = bytes(64)
_LOOK_EVERY_S: Final = 0.25
_BOOTSTRAP_LIMIT_S: Final = 120.0
"""Virtual time."""

_clock: Final = time.process_time
"""Processor time of this process; a world does not replace it."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What something took."""

    processor_s: float
    simulated_s: float
    datagrams: int
    memory_mib: float
    """Most that the process ever had in memory."""


def scenario(name: str, *, nodes: int, seed: int, duration_s: float) -> Scenario:
    """Return a scenario of the catalogue."""
    draw = Draw(
        name=name, summary=SCENARIOS[name].summary, nodes=nodes, seed=seed, duration_s=duration_s, k=k_of(seed, nodes)
    )
    return SCENARIOS[name].make(draw)


def play(name: str, nodes: int, seed: int, duration_s: float) -> tuple[Verdict, Cost]:
    """Play a scenario and say what it cost."""
    simulation = Simulation(scenario(name, nodes=nodes, seed=seed, duration_s=duration_s), seed=seed)
    began = _clock()
    verdict = simulation.run()
    spent_s = _clock() - began
    figures = verdict.figures
    return verdict, Cost(spent_s, figures["simulated_s"], int(figures["datagrams"]), _memory_mib())


def build_dht(nodes: int, seed: int, lookups: int) -> tuple[Built, float]:
    """Build a DHT without membership; also say how much memory that took."""
    return build(nodes, seed, lookups), _memory_mib()


def catch(mutation: str, seeds: int) -> Catch:
    """Look for a planted bug."""
    return hunt(mutation, range(1, seeds + 1))


async def until_united(cluster: Cluster) -> None:
    """Start all peers of a cluster and wait until they are one network with one leader.

    Raises:
        TimeoutError: They did not become one within ``_BOOTSTRAP_LIMIT_S`` of virtual time.
    """
    for peer in cluster.peers:
        cluster.start(peer)
    async with asyncio.timeout(_BOOTSTRAP_LIMIT_S):
        while not is_united(cluster):  # noqa: ASYNC110  (how all peers stand together is no event of any)
            await asyncio.sleep(_LOOK_EVERY_S)


def bootstrap(nodes: int, seed: int) -> Cost:
    """Start so many whole peers and wait until they are one network with one leader.

    Raises:
        TimeoutError: They did not become one within ``_BOOTSTRAP_LIMIT_S`` of virtual time.
    """
    loop = SimLoop(seed=seed)
    network = Network(loop, seed=seed)
    began = _clock()

    gc.disable()
    with installed(Entropy(loop, seed=seed)):
        cluster = Cluster(loop, network, count=nodes, seed=seed)
        loop.run_until_complete(until_united(cluster))
        cost = Cost(_clock() - began, loop.true_time, network.counts["sent"], _memory_mib())
        bury(loop, cluster)
    return cost


class _Echo(asyncio.DatagramProtocol):
    """Answers each ball, and throws the next one when its own comes back."""

    def __init__(self, targets: list[tuple[str, int]], draws: random.Random) -> None:
        self._targets = targets
        self._draws = draws

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[0]:
            self._transport.sendto(_ANSWER, addr)
        else:
            self.throw()

    def throw(self) -> None:
        """Send one datagram to somebody."""
        self._transport.sendto(_BALL, self._draws.choice(self._targets))


def echoes(hosts: int, seed: int, datagrams: int) -> Cost:
    """Let hosts send each other datagrams of 64 bytes and answer them, without anything that reads them."""
    loop = SimLoop(seed=seed)
    network = Network(loop, seed=seed)
    draws = random.Random(seed)
    machines = [
        Host(
            loop, name=f"host-{number}", address=f"10.0.{number // 250}.{number % 250 + 1}",
            place=(draws.random() / 1000, draws.random() / 1000), seed=number,
        )
        for number in range(hosts)
    ]  # fmt: skip
    for machine in machines:
        network.add(machine)
    addresses = [(machine.address, _PORT) for machine in machines]

    async def serve(machine: Host) -> None:
        echo = _Echo(addresses, random.Random(f"{seed}/{machine.name}"))
        await loop.create_datagram_endpoint(lambda: echo, local_addr=(machine.address, _PORT))
        await asyncio.sleep(1.0)
        echo.throw()
        await asyncio.Event().wait()

    async def story() -> float:
        for machine in machines:
            machine.start(serve(machine))
        await asyncio.sleep(1.5)
        before, began = network.counts["sent"], _clock()
        while network.counts["sent"] - before < datagrams:  # noqa: ASYNC110  (the count is no event)
            await asyncio.sleep(0.01)
        sent.append(network.counts["sent"] - before)
        return _clock() - began

    sent: list[int] = []
    gc.disable()
    with installed(Entropy(loop, seed=seed)):
        spent_s = loop.run_until_complete(story())
        return Cost(spent_s, loop.true_time, sent[0], _memory_mib())


def _memory_mib() -> float:
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
