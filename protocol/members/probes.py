"""Probes: each member in turn is asked whether it lives, first directly, then through others.

SWIM 2002, section 3.1, over a shuffled order (section 4.3); Lifeguard 2017 stretches times by the local health.
Departures: the second stage never ends sooner after its true start than one probe timeout, so that a process that woke
late still reads the answers that waited for it. And a helper whose nack does not come is no sign of bad health yet,
but is probed itself: if it answers, its word was lost or late, and that counts. If it does not, this peer is cut off
from both, and finds out within seconds from how many more (decision 0012).
"""

from dataclasses import dataclass, field

from protocol.effects import MachineEffect, Tell
from protocol.ids import PeerId
from protocol.members.health import LocalHealth
from protocol.members.local import LocalPeer
from protocol.members.pings import Pings, SentPing
from protocol.members.table import Member, MemberTable
from protocol.messages import IndirectAck, PingRequest

PROBES_OPEN_MAX = 64
"""Probes at once: one of the round, and one for each link that was lost a moment ago."""


CHECKS_OPEN_MAX = 8
"""Helpers that are probed at once because they said nothing: so many others a lone peer accuses in half a second."""


@dataclass(slots=True)
class Probe:
    """A member that was asked and did not answer yet."""

    peer_id: PeerId
    sequence: int
    started_at: float
    due: float
    """When the stage ends: the direct one, then the one through helpers."""

    is_check: bool = False
    """Whether it asks a helper whose nack did not come."""

    is_indirect: bool = False
    helpers: dict[PeerId, bool] = field(default_factory=dict)
    """Peers that were asked to ping on our behalf, and whether they said that they live."""


class Probes:
    """Whom to probe next, and the probes that wait for an answer."""

    def __init__(
        self, *, local: LocalPeer, table: MemberTable, pings: Pings, health: LocalHealth, now: float
    ) -> None:
        self._local = local
        self._table = table
        self._pings = pings
        self._health = health
        self._order: list[PeerId] = []
        self._open: dict[PeerId, Probe] = {}
        self._unheard: dict[PeerId, None] = {}
        """Helpers that said nothing, to be asked at the end of this wake."""

        self._next_at = now + local.random.random() * local.config.probe_interval_s

    @property
    def deadline(self) -> float:
        """When the next step is due."""
        return min(self._next_at, *[probe.due for probe in self._open.values()]) if self._open else self._next_at

    def start(self, member: Member, *, now: float, is_check: bool = False) -> list[MachineEffect]:
        """Probe ``member`` now; does nothing while a probe of it is open."""
        if member.peer_id in self._open or len(self._open) >= PROBES_OPEN_MAX:
            return []
        ping = self._pings.ping(member, now=now)
        self._open[member.peer_id] = Probe(
            peer_id=member.peer_id,
            sequence=self._pings.last_sequence,
            started_at=now,
            due=now + self._local.config.probe_timeout_s * self._health.factor,
            is_check=is_check,
        )
        return [ping]

    def answered(self, sent: SentPing) -> None:
        """Close the probe that an ack answers, whichever ping since its start the ack is for."""
        probe = self._open.get(sent.peer_id)
        if probe is not None and sent.sent_at >= probe.started_at:
            self._succeed(probe)

    def close(self, peer_id: PeerId) -> None:
        """Forget the probe of a member that failed or left meanwhile."""
        self._open.pop(peer_id, None)

    def relayed(self, answer: IndirectAck, *, helper: PeerId) -> None:
        """Take what a helper says of its own ping."""
        probe = self._open.get(PeerId(answer.target))
        if probe is None or probe.sequence != answer.sequence or helper not in probe.helpers:
            return
        if answer.reached:
            self._succeed(probe)
        else:
            probe.helpers[helper] = True

    def wake(self, *, now: float) -> list[MachineEffect]:
        """Go on with what is due, but for the probes that ended: see ``ended``."""
        effects: list[MachineEffect] = []
        for probe in list(self._open.values()):
            if probe.due <= now and not probe.is_indirect:
                effects += self._ask_helpers(probe, now=now)
        effects += self._check_helpers(now=now)
        if self._next_at <= now:
            self._next_at = now + self._local.config.probe_interval_s * self._health.factor
            member = self._next_member()
            if member is not None:
                effects += self.start(member, now=now)
        return effects

    def ended(self, *, now: float) -> list[Member]:
        """Close the probes whose time is over and return the members that did not answer."""
        silent = []
        for probe in list(self._open.values()):
            if probe.due > now or not probe.is_indirect:
                continue
            del self._open[probe.peer_id]
            self._unheard.update({helper: None for helper, has_told in probe.helpers.items() if not has_told})
            member = self._table.find(probe.peer_id)
            if member is not None and member.is_living:
                silent.append(member)
        return silent

    def resume(self, *, now: float) -> None:
        """This process did not run: open probes prove nothing; the round goes on at once."""
        self._open.clear()
        self._unheard.clear()
        self._next_at = min(self._next_at, now)

    def check_invariants(self) -> None:
        """Assert that open probes are bounded."""
        assert len(self._open) <= PROBES_OPEN_MAX
        assert len(self._checks()) <= CHECKS_OPEN_MAX

    def _succeed(self, probe: Probe) -> None:
        del self._open[probe.peer_id]
        if not probe.is_check:
            self._health.improve()
        elif len(others := self._checks()) >= self._local.config.indirect_probes:
            for other in others:  # so many said nothing because of a cut, which has just healed
                other.is_check = False
        else:
            self._health.worsen()

    def _next_member(self) -> Member | None:
        """Return the next in the round that may be probed; those of an earlier run are asked elsewhere."""
        for fresh_order in (False, True):
            if fresh_order:
                self._order = [member.peer_id for member in self._table.living_others()]
                self._local.random.shuffle(self._order)
            while self._order:
                member = self._table.find(self._order.pop())
                if member is not None and member.is_living and not member.is_remembered:
                    return member
        return None

    def _check_helpers(self, *, now: float) -> list[MachineEffect]:
        """Probe the helpers that said nothing; each that does not answer leads to more of them."""
        effects: list[MachineEffect] = []
        if not self._unheard:
            return effects
        members = map(self._table.find, self._unheard)
        silent = [member for member in members if member is not None and member.state == "alive"]
        for member in silent[: CHECKS_OPEN_MAX - len(self._checks())]:
            effects += self.start(member, now=now, is_check=True)
        self._unheard.clear()
        return effects

    def _checks(self) -> list[Probe]:
        return [probe for probe in self._open.values() if probe.is_check]

    def _ask_helpers(self, probe: Probe, *, now: float) -> list[MachineEffect]:
        """Ask others to ping, and ping once more: with two members there is nobody else."""
        config, factor = self._local.config, self._health.factor
        probe.is_indirect = True
        probe.due = max(
            probe.started_at + config.probe_interval_s * factor, now + config.probe_timeout_s * factor
        )
        alive = [member.peer_id for member in self._table.living_others() if member.state == "alive"]
        asked = [peer_id for peer_id in alive if peer_id in self._open and peer_id != probe.peer_id]
        helpers = self._some([peer_id for peer_id in alive if peer_id not in self._open], config.indirect_probes)
        helpers += self._some(asked, config.indirect_probes - len(helpers))  # perhaps as silent: second best
        probe.helpers = dict.fromkeys(helpers, False)
        request = PingRequest(sequence=probe.sequence, target=probe.peer_id)
        effects: list[MachineEffect] = [Tell(helper, request) for helper in helpers]
        member = self._table.find(probe.peer_id)
        if member is not None:
            effects.append(self._pings.ping(member, now=now))
        return effects

    def _some(self, peer_ids: list[PeerId], count: int) -> list[PeerId]:
        return self._local.random.sample(peer_ids, min(len(peer_ids), count))
