"""The election as a state machine: any faults in any order, each step checked, and one leader in the end."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.examples import machine_settings
from tests.protocol.election.story import Story
from tests.protocol.election.town import Town

_WHO = st.integers(0, 2**16)
_PAUSES_S = st.sampled_from((0.0, 0.02, 0.3, 1.0, 2.5))


class Elections(RuleBasedStateMachine):
    """A town checks every message: nobody signs twice in a term, no (term, council) has two leaders."""

    @initialize(count=st.integers(1, 9), seed=_WHO, loss=st.sampled_from((0.0, 0.05, 0.2)))
    def begin(self, count: int, seed: int, loss: float) -> None:
        """Let a town elect for the first time."""
        self.story = Story(Town(count, seed=seed, loss=loss), seed=seed)

    @rule(kind=st.sampled_from(("cut", "one way", "isolate", "heal")), one=_WHO, other=_WHO, pause_s=_PAUSES_S)
    def change_wires(self, kind: str, one: int, other: int, pause_s: float) -> None:
        """Cut, or heal."""
        self.story.carry_out([(kind, one, other, pause_s)])

    @rule(kind=st.sampled_from(("kill", "restart", "pause", "resume")), one=_WHO, pause_s=_PAUSES_S)
    def change_process(self, kind: str, one: int, pause_s: float) -> None:
        """End, stop, or go on."""
        self.story.carry_out([(kind, one, 0, pause_s)])

    @rule(one=_WHO, other=_WHO, pause_s=_PAUSES_S)
    def hand_over(self, one: int, other: int, pause_s: float) -> None:
        """Ask whoever it is to hand over."""
        self.story.carry_out([("hand over", one, other, pause_s)])

    def teardown(self) -> None:
        """All faults end: one leader is followed by everybody within two seconds of the last change of view."""
        if not hasattr(self, "story"):
            return
        town = self.story.town
        self.story.end_faults()
        town.run(0.31)
        assert town.run(1.7, until=town.is_united), (town.followed(), town.leaders())


TestElections = Elections.TestCase
TestElections.settings = machine_settings(runs=12, steps=12)
