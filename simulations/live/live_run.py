"""One live run: the same story as ``simulations.simulation`` tells in virtual time, on real processes.

    start → workload and faults → heal → settle → final reads → verdict

Time begins when the first peers serve and follow a leader, so that a busy machine does not use up the scenario with
starting.
"""

import asyncio
import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from bootstrap.home import NetworkFolder
from protocol.errors import EnvironmentFault
from simulations.checkers.calm import Calm
from simulations.checkers.checker import Checker, OutsideContext
from simulations.clients import Clients
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
from simulations.live.answerers import HttpAnswerers
from simulations.live.checkers import NOT_JUDGED, make_live_checkers
from simulations.live.founding import NETWORK, Founding, Keeper
from simulations.live.nemesis import LiveNemesis
from simulations.live.network import LiveNetwork
from simulations.live.requests import Requests
from simulations.looking import leaders_of
from simulations.record import Moment, RunRecord
from simulations.scenario import Scenario
from simulations.verdict import Check, Verdict

PATIENCE: Final = 2.0
"""Times within which something must have happened are stretched so: a real machine does other things as well."""

_LOOK_EVERY_S: Final = 0.5
_FORM_TIMEOUT_S: Final = 10.0
_TRACEBACK: Final = "Traceback (most recent call last)"
_ASK_EVERY_S: Final = 0.1
"""How often it is asked whether somebody wants the run to end."""


class LiveRun:
    """One run of one scenario on real processes."""

    def __init__(
        self,
        scenario: Scenario,
        *,
        seed: int,
        on_moment: Callable[[Moment], None] | None = None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        """Prepare; nothing runs yet.

        Args:
            on_moment: Called at each second.
            is_over: Whether somebody wants the run to end early; asked all the time.
        """
        self.record: Final = RunRecord(scenario=scenario, seed=seed, is_live=True)
        self._scenario = scenario
        self._seed = seed
        self._on_moment = on_moment
        self._is_over = is_over
        self._checkers: list[Checker] = []
        self._looks = 0
        self._next_moment_s = MOMENT_S
        self._sent_before = 0

    def run(self) -> Verdict:
        """Run to the end and return the verdict; nothing of the network is left then.

        What ends a run early, Ctrl-C too, is the verdict's first failed check.

        Raises:
            EnvironmentFault: The network cannot be started here.
        """
        scenario = self._scenario
        founding = Founding(nodes=scenario.nodes, k=scenario.k, profile=scenario.profile, voters=scenario.voters)
        try:
            folder = Path(tempfile.mkdtemp(prefix="pair-live-"))
        except OSError as error:
            raise EnvironmentFault(f"there is no temporary folder: {error}", next_step="set TMPDIR to one") from error
        keeper = Keeper(folder, founding)
        try:
            with asyncio.Runner() as runner:
                return runner.run(self._play(folder, keeper))
        finally:
            keeper.close()

    async def _play(self, folder: Path, keeper: Keeper) -> Verdict:
        await keeper.founded()
        network_folder = NetworkFolder(folder / NETWORK)
        async with Requests(network_folder.tokens()) as requests:
            network = LiveNetwork(network_folder, requests)
            nemesis = LiveNemesis(
                network, keeper, self._scenario.faults, seed=self._seed, applied=self.record.applied
            )
            network.begin()
            story = asyncio.create_task(self._story(network, nemesis))
            asking = asyncio.create_task(self._somebody_wants_the_end())
            try:
                await asyncio.wait((story, asking), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (story, asking):
                    task.cancel()
                await asyncio.gather(story, asking, return_exceptions=True)
                await nemesis.close()
            self._note_end(story)
            await network.look()
            return self._verdict(network, nemesis)

    def _note_end(self, story: asyncio.Task[None]) -> None:
        """Note why the story ended before its end, if it did."""
        if story.cancelled():
            self.record.cut_short = "interrupted"
            return
        error = story.exception()
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        if isinstance(error, EnvironmentFault):
            raise error
        if error is not None:
            self.record.cut_short = f"{type(error).__name__}: {error}"

    async def _somebody_wants_the_end(self) -> None:
        while not self._is_over():  # noqa: ASYNC110  (a signal is what sets it, and nothing can wait for that)
            await asyncio.sleep(_ASK_EVERY_S)

    # The story

    async def _story(self, network: LiveNetwork, nemesis: LiveNemesis) -> None:
        scenario, record = self._scenario, self.record
        await nemesis.start_first([peer.name for peer in network.peers[: scenario.begin_with or scenario.nodes]])
        if network.endings:
            raise EnvironmentFault(network.endings[0], next_step="try again, or with fewer --nodes")
        await self._form(network)
        network.begin()
        context = OutsideContext(network, record.history, scenario, network.now_s, patience=PATIENCE)
        calm = Calm(context)
        self._checkers = make_live_checkers(context, calm)
        clients = Clients(HttpAnswerers(network), scenario.workload, record.history, self._seed)
        async with asyncio.TaskGroup() as group:
            watching = [group.create_task(self._watch(network, nemesis, calm))]
            watching += [
                group.create_task(network.listen(peer, lambda: calm.disturbed(network.now_s())))
                for peer in network.peers
            ]
            nemesis.begin()
            asking = group.create_task(clients.run(scenario.duration_s))
            await asyncio.sleep(scenario.duration_s)
            await nemesis.heal()
            record.healed_s = network.now_s()
            await asking
            await self._settle(network)
            await clients.read_everything(clients.keys)
            for task in watching:
                task.cancel()

    async def _form(self, network: LiveNetwork) -> None:
        """Wait until the peers that run follow one leader; not for long, and not where a cut keeps them apart."""
        ends_s = network.now_s() + _FORM_TIMEOUT_S
        while network.now_s() < ends_s and not network.cut:
            await network.look()
            running = network.running()
            if running and list(leaders_of(network).values()) == [len(running)]:
                return
            await asyncio.sleep(_ASK_EVERY_S)

    async def _settle(self, network: LiveNetwork) -> None:
        """Wait until all has been well for a while, or until it should have been."""
        ends_s, well_since, seen = network.now_s() + PATIENCE * self._scenario.settle_s, None, self._looks
        while network.now_s() < ends_s:
            while self._looks == seen:  # noqa: ASYNC110  (the next look is soon)
                await asyncio.sleep(_ASK_EVERY_S)
            seen, now = self._looks, network.now_s()
            all_well = is_well(network, self.record)
            well_since = (now if well_since is None else well_since) if all_well else None
            if well_since is not None and now >= well_since + QUIET_S:
                self.record.settled_s = well_since
                return

    async def _watch(self, network: LiveNetwork, nemesis: LiveNemesis, calm: Calm) -> None:
        """Look at everything now and then; let the checkers scan it each second."""
        while True:
            await network.look()
            self._looks += 1
            now = network.now_s()
            if now >= self._next_moment_s:
                self._next_moment_s = math.floor(now) + MOMENT_S
                self._scan(network, calm, now)
            await nemesis.plane.apply()
            await asyncio.sleep(_LOOK_EVERY_S)

    def _scan(self, network: LiveNetwork, calm: Calm, now: float) -> None:
        calm.scanned(now)
        for checker in self._checkers:
            checker.scanned(now)
        sent = network.datagrams_sent()
        datagrams, self._sent_before = sent - self._sent_before, sent
        moment = moment_of(network, self.record, at_s=round(now, 1), datagrams=datagrams)
        self.record.moments.append(moment)
        if self._on_moment is not None:
            self._on_moment(moment)

    # The verdict

    def _verdict(self, network: LiveNetwork, nemesis: LiveNemesis) -> Verdict:
        scenario, record = self._scenario, self.record
        elections = len(network.elected)
        own = tuple(self._own_checks(network, nemesis))
        found, unseen = judged(self._checkers, record)
        checks = (*own, *found)
        return Verdict(
            scenario=scenario.name,
            nodes=scenario.nodes,
            seed=self._seed,
            verdict="PASS" if all(check.ok for check in checks) else "FAIL",
            checks=checks,
            figures={
                **common_figures(record, elections=elections),
                "datagrams": float(network.datagrams_sent()),
                "simulated_s": round(network.now_s(), 3),
                **recovery_figure(record),
            },
            trace_sha256=None,
            replay=f"pair simulate {scenario.name} --live --nodes {scenario.nodes} --seed {self._seed}"
            f" --duration {scenario.duration_s:g}",
            not_judged=(*NOT_JUDGED, *unseen),
        )

    def _own_checks(self, network: LiveNetwork, nemesis: LiveNemesis) -> Iterator[Check]:
        yield end_reached(self.record, at_s=network.now_s(), seconds="seconds")
        broken = [peer.name for peer in network.peers if peer.has_logged(_TRACEBACK)]
        yield Check(
            name="no error escaped",
            ok=not broken,
            detail=f"there is a traceback in the log of {', '.join(broken)}" if broken else "no traceback in any log",
        )
        yield _none_of("no peer ended by itself", network.endings, otherwise=f"{len(network.peers)} peers")
        applied = f"{len(self.record.applied)} faults"
        yield _none_of("faults reach every peer", nemesis.plane.refusals, otherwise=applied)
        if not self.record.cut_short:
            yield recovery(network, self.record)
            yield promised(self.record, elections=len(network.elected))


def _none_of(name: str, found: Sequence[str], *, otherwise: str) -> Check:
    return Check(name=name, ok=not found, detail=f"{len(found)}, the first: {found[0]}" if found else otherwise)
