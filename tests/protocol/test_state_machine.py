"""Whole cores as a state machine: peers start, die, hang and lose each other; then all agree again."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.examples import machine_settings
from tests.protocol.cluster import Cluster

_WHO = st.integers(0, 2**16)
_PAUSES_S = st.sampled_from((0.0, 0.02, 0.3, 1.0, 4.0))
_AGREES_WITHIN_S = 60.0
"""Virtual time for the slowest way back: a contact that was silent for long is asked only now and then."""


class Networks(RuleBasedStateMachine):
    """Up to seven peers; a cluster checks the invariants of every core after each pause."""

    @initialize(count=st.integers(2, 7), seed=_WHO, loss=st.sampled_from((0.0, 0.05)))
    def begin(self, count: int, seed: int, loss: float) -> None:
        """Start them together."""
        self.count = count
        self.cluster = Cluster(seed=seed, loss=loss)
        self.cluster.start_many(count, within_s=0.2)
        self.cluster.run(1.0)

    @rule(one=_WHO, pause_s=_PAUSES_S)
    def kill(self, one: int, pause_s: float) -> None:
        """Let one peer die; the last one stays."""
        running = self.cluster.running
        if len(running) > 1:
            self.cluster.kill(running[one % len(running)])
        self.cluster.run(pause_s)

    @rule(one=_WHO, pause_s=_PAUSES_S)
    def leave(self, one: int, pause_s: float) -> None:
        """Let one peer say goodbye."""
        running = [number for number in self.cluster.running if not self.cluster.processes[number].is_paused]
        if len(running) > 1:
            self.cluster.stop(running[one % len(running)])
        self.cluster.run(pause_s)

    @rule(one=_WHO, pause_s=_PAUSES_S)
    def start(self, one: int, pause_s: float) -> None:
        """Start one that is down, with all others as contacts."""
        down = [number for number in range(1, self.count + 1) if number not in self.cluster.running]
        if down:
            number = down[one % len(down)]
            self.cluster.start(number, contacts=[other for other in range(1, self.count + 1) if other != number])
        self.cluster.run(pause_s)

    @rule(one=_WHO, pause_s=_PAUSES_S)
    def pause_or_resume(self, one: int, pause_s: float) -> None:
        """SIGSTOP, or SIGCONT."""
        number = self.cluster.running[one % len(self.cluster.running)]
        if self.cluster.processes[number].is_paused:
            self.cluster.resume(number)
        else:
            self.cluster.pause(number)
        self.cluster.run(pause_s)

    @rule(sides=_WHO, is_one_way=st.booleans(), pause_s=_PAUSES_S)
    def cut(self, sides: int, is_one_way: bool, pause_s: float) -> None:
        """Cut the wires between two sides, in both directions or in one."""
        numbers = range(1, self.count + 1)
        left = [number for number in numbers if sides >> number & 1]
        self.cluster.cut(left, [number for number in numbers if number not in left], one_way=is_one_way)
        self.cluster.run(pause_s)

    @rule(pause_s=_PAUSES_S)
    def heal(self, pause_s: float) -> None:
        """End all cuts."""
        self.cluster.heal()
        self.cluster.run(pause_s)

    def teardown(self) -> None:
        """All faults end: every table is complete, and all follow one leader."""
        if not hasattr(self, "cluster"):
            return
        cluster = self.cluster
        cluster.heal()
        cluster.loss = 0.0
        for number in cluster.running:
            if cluster.processes[number].is_paused:
                cluster.resume(number)
        assert cluster.run_until(cluster.agrees, within_s=_AGREES_WITHIN_S, step_s=0.1) is not None, (
            cluster.running,
            cluster.leaders(),
        )


TestNetworks = Networks.TestCase
TestNetworks.settings = machine_settings(runs=8, steps=10)
