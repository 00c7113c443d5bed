"""Other systems, measured on the same machine in the same run, for the rows that they have.

They are run as they come, with their own defaults, by loopback: stock kademlia (a DHT of the same library, with one
process per node), etcd (three nodes, consensus, durable) and serf (membership alone). None of them does all that a
row of Pair does; notes say what differs, and a figure is compared only where both did the same work.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench
from benchmarks.beside import etcd, kademlia, serf
from benchmarks.results import Comparison


@dataclass(frozen=True, slots=True)
class System:
    """One other system."""

    name: str
    """What ``--others`` calls it."""

    title: str
    rows: tuple[str, ...]
    """Keys of the rows that it has."""

    measure: Callable[[Bench, Sequence[str]], Awaitable[list[Comparison]]]
    """Measures these rows; raises ``BenchError`` when it cannot, for example because it is not installed."""

    async def compare(self, bench: Bench, rows: Sequence[str]) -> list[Comparison]:
        """Measure these rows. A system that is missing or fails is shown as such and never ends the run."""
        try:
            return await self.measure(bench, rows)
        except Exception as error:  # another system's trouble must not cost the figures of Pair
            bench.say(f"{self.title}: {error!r}")
            return [Comparison(system=self.title, row=row, measured=str(error) or repr(error)) for row in rows]


SYSTEMS: Final = (
    System("kademlia", kademlia.NAME, kademlia.ROWS, kademlia.measure),
    System("etcd", etcd.NAME, etcd.ROWS, etcd.measure),
    System("serf", serf.NAME, serf.ROWS, serf.measure),
)
