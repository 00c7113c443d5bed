"""The rows of the table, in its order, with what each must reach.

A row is measured by one function of ``Bench``. Figures come from the peers' own clocks where reading them over HTTP
would steal the processor that is measured: all runs on one machine, so there is one clock.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from benchmarks.bench import Bench
from benchmarks.results import Outcome
from benchmarks.rows import channel, durability, failover, hostility, liars, simulator, start, values, verdicts


@dataclass(frozen=True, slots=True)
class Row:
    """One row: what is measured, what must be reached, and how it is measured."""

    key: str
    what: str
    must: str
    goal: str
    measure: Callable[[Bench], Awaitable[Outcome]]


ROWS: Final = (
    Row("start", "pair up 50 --detach: tables complete, one leader", "≤ 6 s", "≤ 2 s", start.measure_start),
    Row("memory", "memory per peer, N = 50, idle (PSS)", "≤ 14 MiB", "≤ 10 MiB", start.measure_memory),
    Row("idle", "idle processor per peer, N = 50", "≤ 1 % of a core", "≤ 0.3 %", start.measure_idle),
    Row(
        "kill",
        "leader kill -9 → every survivor follows the new one, N = 5 and 40",
        "p50 ≤ 300 ms, max ≤ 1.5 s",
        "p50 ≤ 50 ms, max ≤ 250 ms",
        failover.measure_kill,
    ),
    Row(
        "stop",
        "leader SIGSTOP → the same",
        "p50 ≤ 1.5 s, max ≤ 3 s",
        "p50 ≤ 400 ms",
        failover.measure_stop,
    ),
    Row(
        "verdicts",
        "wrong verdicts about healthy peers: N = 40, 8 stalled 2 s of every 2.05 s, 60 s",
        "0",
        "0",
        verdicts.measure_verdicts,
    ),
    Row(
        "get",
        "get of a key not held locally, N = 50, one process per peer",
        "p50 ≤ 1 ms, p99 ≤ 5 ms",
        "p50 ≤ 0.3 ms, p99 ≤ 2 ms",
        values.measure_get,
    ),
    Row(
        "get-after-kill",
        "get in the first second after 30 % of 50 peers are killed",
        "all found, p99 ≤ 250 ms",
        "p99 ≤ 25 ms",
        values.measure_get_after_kill,
    ),
    Row(
        "writes",
        "1,000 concurrent writes of 1 KB",
        "all acknowledged, each on k live holders after 5 s",
        "",
        values.measure_writes,
    ),
    Row(
        "lost",
        "acknowledged writes lost: 100 kill -9 cycles under load, then all stopped and started",
        "0",
        "0",
        durability.measure_lost,
    ),
    Row(
        "flood",
        "20,000 forged datagrams a second at one peer for 30 s",
        "API p99 < 100 ms, 0 wrong verdicts, 0 changes",
        "API p99 ≤ 20 ms",
        hostility.measure_flood,
    ),
    Row(
        "slow-connections",
        "500 slow connections at a peer with 256 descriptors",
        "closed ≤ 15 s, serves < 2 s after they left",
        "",
        hostility.measure_slow_connections,
    ),
    Row(
        "liars",
        "simulator: reads with a quorum by honest peers, 60 members of which 30 % lie",
        "≥ 95 % right, 0 forged",
        "all right",
        liars.measure_liars,
    ),
    Row("channel", "a datagram sealed and opened, a request over mutual TLS", "", "", channel.measure_channel),
    Row(
        "determinism",
        "simulator: the same seed twice, other processes, hash seeds and heaps: the same trace",
        "20 of 20",
        "all",
        simulator.measure_determinism,
    ),
    Row(
        "datagram",
        "simulator: its own processor time per datagram, 1,000 hosts",
        "≤ 12 µs",
        "≤ 8 µs",
        simulator.measure_datagram,
    ),
    Row(
        "speed",
        "simulator: whole peers with faults, virtual seconds per processor second, 30 / 100 / 300 peers",
        "30 / 10 / 3",
        "100 / 30 / 10",
        simulator.measure_speed,
    ),
    Row(
        "bootstrap",
        "simulator: 1,000 whole peers started, one leader agreed",
        "≤ 120 s",
        "≤ 20 s",
        simulator.measure_bootstrap,
    ),
    Row(
        "dht",
        "simulator: 10,000 nodes of the DHT alone, built",
        "≤ 120 s, ≤ 2 GB",
        "≤ 60 s",
        simulator.measure_dht,
    ),
    Row(
        "sweep",
        "simulator: 200 seeds of swizzle, 20 peers, 60 virtual seconds",
        "≤ 8 minutes, 0 failures",
        "≤ 2 minutes",
        simulator.measure_sweep,
    ),
    Row(
        "bugs",
        "simulator: planted bugs caught within 2,000 seeds",
        "≥ 16 of 20",
        "all",
        simulator.measure_bugs,
    ),
)
"""The tables of the issues that asked for them, row by row."""
