"""One run: a scenario and a seed go in, a verdict comes out, the same every time.

After TigerBeetle's simulator: safety is watched while faults last; then everything is healed and progress is demanded.

    start → workload and faults → heal → settle → final reads → verdict
"""

import asyncio
import contextlib
import gc
import logging
import time
from collections.abc import Callable, Iterator
from typing import Final

from protocol.effects import RoleChanged
from simulations.asking import ClusterAnswerers
from simulations.burial import bury
from simulations.checkers import Audience, Checker, Context, make_checkers
from simulations.clients import Clients
from simulations.cluster import Cluster
from simulations.hostile import Hostiles
from simulations.judging import (
    MOMENT_S,
    QUIET_S,
    common_figures,
    end_reached,
    is_well,
    judged,
    moment_of,
    promised,
    recovery,
    recovery_figure,
)
from simulations.nemesis import Nemesis
from simulations.record import Moment, RunRecord
from simulations.scenario import Scenario
from simulations.verdict import Check, Verdict
from simulations.witness import Observation, Reported
from simulations.world.entropy import Entropy, installed
from simulations.world.errors import SimulationError
from simulations.world.loop import SimLoop
from simulations.world.network import Network
from simulations.world.trace import Trace

_LOOK_EVERY_S: Final = 0.25
_GUARD_EVERY_S: Final = 0.05
_COLLECT_EVERY_EVENTS: Final = 500_000
"""Events of the network between two collections of garbage: at the same points of every run with the same seed."""

_DATAGRAMS_PER_PEER_S_MAX: Final = 5_000
"""A run that sends more, on average, drowns in a storm of messages."""

PROCESSOR_S_MAX: Final = 3_600.0
"""What one run may cost, for which no honest run comes near it."""


class Storm(SimulationError):
    """The run costs more than any honest one."""


class Simulation:
    """One run of one scenario."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        on_moment: Callable[[Moment], None] | None = None,
        trace: Trace | None = None,
    ) -> None:
        """Make the world; nothing runs yet.

        Args:
            on_moment: Called at each full virtual second.
            trace: Takes what crosses the network; one with a window keeps the lines of that window.
        """
        self.record: Final = RunRecord(scenario=scenario, seed=seed)
        self._scenario = scenario
        self._seed = seed
        self._on_moment = on_moment
        self._loop = SimLoop(seed=seed)
        self._network = Network(self._loop, seed=seed, trace=trace)
        self.cluster: Final = Cluster(
            self._loop,
            self._network,
            count=scenario.nodes,
            seed=seed,
            k=scenario.k,
            profile=scenario.profile,
            voters=scenario.voters,
            zeroconf=scenario.zeroconf,
        )
        self._clients = Clients(ClusterAnswerers(self.cluster), scenario.workload, self.record.history, seed)
        self._hostiles = Hostiles(self.cluster, seed=seed)
        self._nemesis = Nemesis(
            self.cluster, scenario.faults, seed=seed, applied=self.record.applied, lie=self._hostiles.begin
        )
        self._checkers: list[Checker] = make_checkers(
            Context(cluster=self.cluster, history=self.record.history, scenario=scenario, now=self._now)
        )
        self._audience = Audience(self._checkers)
        self._is_over = False
        self._elections = 0
        self._sent_before = 0
        self._collected_at = 0
        self._spent_from_s = 0.0
        self.cluster.witness.listeners.append(self._observed)

    def run(self) -> Verdict:
        """Run to the end and return the verdict.

        What ends a run early, Ctrl-C too, is the verdict's first failed check; everything is taken down all the same.
        """
        self._spent_from_s = time.process_time()
        with _collector_off(), _log_off(), installed(Entropy(self._loop, seed=self._seed)):
            try:
                self._loop.run_until_complete(self._story())
            except KeyboardInterrupt:
                self.record.cut_short = "interrupted"
            except Exception as error:  # whatever it is, it is what the run came to
                self.record.cut_short = f"{type(error).__name__}: {error}"
            self._is_over = True
            verdict = self._verdict()
            bury(self._loop, self.cluster)
        return verdict

    # The story

    async def _story(self) -> None:
        self._guard()
        self._loop.at(MOMENT_S, self._watch)
        self._start_peers()
        self._nemesis.begin()
        asking = self._loop.create_task(self._clients.run(self._scenario.duration_s))
        await asyncio.sleep(self._scenario.duration_s)
        self._nemesis.heal()
        self._hostiles.end()
        self.record.healed_s = self._now()
        await asking
        await self._settle()
        await self._clients.read_everything(self._clients.keys)
        self._is_over = True
        self._look()

    def _start_peers(self) -> None:
        scenario = self._scenario
        first = self.cluster.peers[: scenario.begin_with or scenario.nodes]
        for number, peer in enumerate(first):
            self._loop.at(scenario.start_over_s * number / len(first), self._nemesis.start, peer)

    async def _settle(self) -> None:
        """Wait until all has been well for a while, or until it should have been."""
        began_s, well_since = self._now(), None
        while self._now() < began_s + self._scenario.settle_s:
            all_well = is_well(self.cluster, self.record)
            well_since = (self._now() if well_since is None else well_since) if all_well else None
            if well_since is not None and self._now() >= well_since + QUIET_S:
                self.record.settled_s = well_since
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    def _watch(self) -> None:
        """Look at everything each second; what a checker raises ends the run at once."""
        if not self._is_over:
            self._look()
            self._loop.at(self._now() + MOMENT_S, self._watch)

    def _guard(self) -> None:
        """Collect garbage when it is time, and end a run that has lost itself."""
        if self._is_over:
            return
        now, events = self._now(), self._network.trace.events
        if events - self._collected_at >= _COLLECT_EVERY_EVENTS:
            self._collected_at = events
            gc.collect()
        if self._network.counts["sent"] > _DATAGRAMS_PER_PEER_S_MAX * self._scenario.nodes * (now + 10):
            raise Storm(f"{self._network.counts['sent']} datagrams in {now:.1f} s: a storm of messages")
        if time.process_time() - self._spent_from_s > PROCESSOR_S_MAX:
            raise Storm(f"{PROCESSOR_S_MAX:.0f} s of processor time spent after {now:.1f} s of virtual time")
        self._loop.at(now + _GUARD_EVERY_S, self._guard)

    # Watching

    def _now(self) -> float:
        return self._loop.true_time

    def _observed(self, observation: Observation) -> None:
        if isinstance(observation, Reported) and isinstance(observation.event, RoleChanged):
            self._elections += observation.event.role == "leader"
        self._audience.tell(observation)

    def _look(self) -> None:
        """Let the checkers scan everything, and note how it stands."""
        now = self._now()
        for checker in self._checkers:
            checker.scanned(now)
        sent = self._network.counts["sent"]
        datagrams, self._sent_before = sent - self._sent_before, sent
        moment = moment_of(self.cluster, self.record, at_s=now, datagrams=datagrams)
        self.record.moments.append(moment)
        if self._on_moment is not None:
            self._on_moment(moment)

    # The verdict

    def _verdict(self) -> Verdict:
        scenario = self._scenario
        self.record.checkpoints = list(self._network.trace.checkpoints)
        own = tuple(self._own_checks())
        found, unseen = judged(self._checkers, self.record)
        checks = (*own, *found)
        return Verdict(
            scenario=scenario.name,
            nodes=scenario.nodes,
            seed=self._seed,
            verdict="PASS" if all(check.ok for check in checks) else "FAIL",
            checks=checks,
            figures=self._figures(),
            trace_sha256=self._network.trace.digest,
            replay=f"pair simulate {scenario.name} --nodes {scenario.nodes} --seed {self._seed}"
            f" --duration {scenario.duration_s:g}",
            not_judged=unseen,
        )

    def _own_checks(self) -> Iterator[Check]:
        failures = self._loop.failures
        yield end_reached(self.record, at_s=self._now(), seconds="simulated seconds")
        yield Check(
            name="no error escaped",
            ok=not failures,
            detail=f"{len(failures)}, the first: {failures[0]!r}" if failures else "none in any task or callback",
        )
        endings = self.cluster.endings
        yield Check(
            name="no peer ended by itself",
            ok=not endings,
            detail=f"{len(endings)}, the first: {endings[0]}" if endings else f"{len(self.cluster.peers)} peers",
        )
        if not self.record.cut_short:
            yield recovery(self.cluster, self.record)
            yield promised(self.record, elections=self._elections)

    def _figures(self) -> dict[str, float]:
        counts = self._network.counts
        return {
            **common_figures(self.record, elections=self._elections),
            "datagrams": float(counts["sent"]),
            "datagrams_lost": float(counts["lost"] + counts["cut"]),
            "stream_pieces": float(counts["pieces"]),
            "simulated_s": round(self._now(), 3),
            **recovery_figure(self.record),
        }


@contextlib.contextmanager
def _collector_off() -> Iterator[None]:
    """Collect garbage only where the run says so: finalizers can send, and the collector's moments are its own."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
        gc.collect()  # a sweep plays hundreds of worlds in one process


@contextlib.contextmanager
def _log_off() -> Iterator[None]:
    """Let peers say nothing: what matters is in the verdict, and a hostile member alarms everybody all the time."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)
