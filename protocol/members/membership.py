"""The membership machine's door: messages, time and connections in, effects out.

SWIM (Das et al. 2002) and Lifeguard (Dadgar et al. 2017); the parts say where they depart. The core hands over
messages of members in their current boot only; what they carry about third peers is believed for its signature.
"""

import random
from typing import Final

from protocol.codec import decode_evidence
from protocol.config import ProtocolConfig
from protocol.effects import Alarm, Electorate, MachineEffect, Report, Tell
from protocol.errors import DecodeError
from protocol.identity import Identity, Verifier
from protocol.ids import NetworkId, PeerId
from protocol.limits import ACCUSATIONS_PER_MEMBER_MAX
from protocol.members.absent import Absent
from protocol.members.anti_entropy import AntiEntropy
from protocol.members.crashes import Crashes
from protocol.members.health import LocalHealth
from protocol.members.judge import Judge, order_of
from protocol.members.local import LocalPeer
from protocol.members.news import News, subject_of
from protocol.members.pings import Pings
from protocol.members.probes import Probes
from protocol.members.relays import Relays
from protocol.members.spreading import Spreading
from protocol.members.suspicion import Suspicions
from protocol.members.table import Member, MemberTable
from protocol.messages import Ack, Gossip, IndirectAck, LeaderClaim, Message, Ping, PingRequest, Sync
from protocol.statements import Accusation, Address, Ban, Descriptor, Evidence

SECOND_PROBES = 6
"""Peers that probe a fresh suspect at once, on average: they clear it or confirm it long before their turn comes."""

SETTLED_S = 0.1
"""A member of this age has asked for the table and knows the others."""

STALL_WORSENS = 2
"""Steps of local health that a stall costs: more than the one good probe between two stalls gives back."""


class Membership:
    """One peer's view of who is here.

    Invariants:
        1. Every change of the table is reported before the call that made it returns.
        2. Suspicions run exactly against accused suspects; at most ``ACCUSATIONS_PER_MEMBER_MAX`` accusations
           stand against one member, none against the local peer.
        3. After a leave nothing is sent any more.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        network_id: NetworkId,
        descriptor: Descriptor,
        config: ProtocolConfig,
        verifier: Verifier,
        random: random.Random,
        now: float,
        remembered: tuple[Descriptor, ...] = (),
        banned: tuple[PeerId, ...] = (),
    ) -> None:
        """Start with the local peer alive and the ``remembered`` ones suspect, but for the ``banned``."""
        local = self._local = LocalPeer(
            identity=identity,
            network_id=network_id,
            descriptor=descriptor,
            config=config,
            verifier=verifier,
            random=random,
        )
        table = self.table = MemberTable(descriptor, now=now)
        news = self._news = News(config)
        self._suspicions = Suspicions(config)
        self._judge = Judge(local=local, table=table, news=news, suspicions=self._suspicions)
        for peer_id in (peer_id for peer_id in banned if peer_id != descriptor.peer_id):
            self._judge.ban(peer_id, now=now)
        for peer in remembered:
            self._judge.remember(peer, now=now)
        self._health: Final = LocalHealth(score_max=config.local_health_max)
        pings = self._pings = Pings(table=table, news=news, random=random)
        self._probes = Probes(local=local, table=table, pings=pings, health=self._health, now=now)
        self._relays = Relays(config=config, table=table, pings=pings)
        self._spreading = Spreading(local=local, table=table, news=news, pings=pings)
        self._crashes = Crashes(local=local, table=table, judge=self._judge, spreading=self._spreading)
        self._anti_entropy = AntiEntropy(local=local, table=table, now=now)
        self._absent = Absent(local=local, table=table, pings=pings, now=now)
        self._electorate = Electorate((), (), ready=False)
        self._electorate_version = -1
        self._has_left = False
        self._is_doubled = False

    @property
    def descriptor(self) -> Descriptor:
        """The local peer's current own descriptor."""
        return self._local.descriptor

    @property
    def electorate(self) -> Electorate:
        """What the election sees of the table; the core decides whether it is ready."""
        if self._electorate_version != self.table.version:
            self._electorate = Electorate(self.table.living, self.table.suspects, ready=False)
            self._electorate_version = self.table.version
        return self._electorate

    @property
    def claim(self) -> LeaderClaim | None:
        """Whom this peer follows, as the core says; rides on every ping and ack."""
        return self._pings.claim

    @claim.setter
    def claim(self, claim: LeaderClaim | None) -> None:
        self._pings.claim = claim

    def next_deadline(self) -> float:
        """Return when ``wake`` wants to be called."""
        if self._has_left:
            return float("inf")
        return min(
            self._probes.deadline,
            self._relays.deadline,
            self._suspicions.deadline,
            self._spreading.deadline,
            self._crashes.deadline,
            self._anti_entropy.deadline,
            self._absent.deadline,
        )

    def wake(self, *, now: float, late_by: float) -> list[MachineEffect]:
        """Do what is due; ``late_by`` tells how long ago it should have been done."""
        if self._has_left:
            return []
        if late_by >= self._local.config.stall_s:
            self._resume(now)
        effects = self._end_suspicions(now)
        for member in self._probes.ended(now=now):
            if self._judge.accuse(member, "silent", now=now):
                self._spreading.schedule(now=now)
        effects += self._probes.wake(now=now)
        effects += self._relays.wake(now=now)
        effects += self._crashes.wake(now=now)
        effects += self._absent.wake(now=now)
        effects += self._anti_entropy.wake(now=now)
        effects += self._spreading.wake(now=now)
        return self._with_changes(effects, now)

    def handle(self, message: Message, *, sender: PeerId, now: float) -> list[MachineEffect]:
        """Take a message of the member ``sender``."""
        member = self.table.find(sender)
        assert member is not None, "the core asks strangers to introduce themselves"
        if self._has_left or member is self.table.local:
            return []
        self._judge.heard(member, now=now)
        effects: list[MachineEffect] = []
        match message:
            case Ping():
                is_outdated = message.receiver_boot != self.descriptor.boot
                is_outdated |= self._take_updates(message.updates, now, effects)
                effects.append(self._pings.ack(member, message.sequence, now=now, introduce=is_outdated))
            case Ack():
                is_outdated = self._take_updates(message.updates, now, effects)
                self._take_ack(message, member, now, effects)
                self._correct(member, is_outdated, effects)
            case Gossip():
                self._correct(member, self._take_updates(message.updates, now, effects), effects)
            case Sync():
                effects += self._answer_sync(message, member, now)
            case PingRequest():
                effects += self._relays.asked(member, message, now=now)
            case IndirectAck():
                self._probes.relayed(message, helper=sender)
        if not isinstance(message, Ping):
            effects += self._pings.prompt(member, now=now)
        return self._with_changes(effects, now)

    def learn(self, descriptor: Descriptor, *, now: float) -> list[MachineEffect]:
        """Take a descriptor that its author, or somebody for it, handed us; it need not be authentic."""
        effects: list[MachineEffect] = []
        if descriptor.author == self._local.peer_id:
            self._defend(descriptor, now, effects)
            return self._with_changes(effects, now)
        if self._judge.admit(descriptor, now=now):
            self._spreading.schedule(now=now)
        member = self.table.find(descriptor.peer_id)
        if member is not None:
            effects += self._pings.prompt(member, now=now)
        return self._with_changes(effects, now)

    def introducer(self, newcomer: PeerId, *, now: float) -> PeerId:
        """Return who introduces newcomers where nobody leads: the lowest id that is surely alive and knows the others.

        Of peers that start together none does; then whoever was asked introduces.
        """
        able = (
            member.peer_id
            for member in self.table
            if member.state == "alive" and member.peer_id != newcomer and member.learned_at + SETTLED_S <= now
        )
        return next(able, self._local.peer_id)

    def introduce(self, newcomer: PeerId, *, now: float) -> None:
        """Tell everybody of a newcomer that was learned before."""
        member = self.table.find(newcomer)
        if member is not None and member is not self.table.local:
            self._spreading.introduce(member, now=now)

    def sync_with(self, peer_id: PeerId, *, members: int, now: float) -> None:
        """Compare tables soon with a contact that says it knows ``members``, unless this peer knows as many."""
        member = self.table.find(peer_id)
        if member is not None and member is not self.table.local:
            self._anti_entropy.sync_with(member, members=members, now=now)

    def link_lost(self, peer_id: PeerId, *, now: float) -> list[MachineEffect]:
        """Ask a member at once whose link ended, and whether anybody listens there."""
        member = self.table.find(peer_id)
        if member is None or not member.is_living or self._has_left:
            return []
        return [*self._crashes.link_lost(member, now=now), *self._probes.start(member, now=now)]

    def connection_refused(self, peer_id: PeerId, boot: int, *, now: float) -> list[MachineEffect]:
        """Count what an operating system said about a boot of ``peer_id``."""
        member = self.table.find(peer_id)
        if member is None or member is self.table.local or self._has_left:
            return []
        return self._with_changes(self._crashes.refused(member, boot=boot, now=now), now)

    def ban_changed(self, ban: Ban, *, now: float) -> list[MachineEffect]:
        """Leave a banned peer out, or let it come again; a peer that is banned itself goes on seeing the others."""
        peer_id = PeerId(ban.banned)
        if peer_id == self._local.peer_id:
            return []
        if ban.is_lifted:
            self._judge.lift(peer_id)
        else:
            self._judge.ban(peer_id, now=now)
        return self._with_changes([], now)

    def end_grace(self, *, now: float) -> list[MachineEffect]:
        """Give up the members of an earlier run that nobody vouched for."""
        for member in [member for member in self.table if member.is_remembered]:
            self._judge.give_up(member, now=now)
        self._spreading.schedule(now=now)
        return self._with_changes([], now)

    def relocate(self, *, address: Address, api: Address, now: float) -> list[MachineEffect]:
        """Tell the others where this peer is from now on; the old address need not exist any more."""
        if self._has_left or (address, api) == (self.descriptor.address, self.descriptor.api):
            return []
        self._redescribe(self._local.relocate(address=address, api=api), now)
        return self._with_changes([], now)

    def leave(self, *, now: float) -> list[MachineEffect]:
        """Say goodbye and fall silent."""
        if self._has_left:
            return []
        self._has_left = True
        return self._with_changes(self._spreading.farewell(self._local.farewell()), now)

    def check_invariants(self) -> None:
        """Assert the invariants of this class and of its parts."""
        self.table.check_invariants()
        for part in (self._news, self._pings, self._probes, self._relays, self._spreading, self._crashes, self._absent):
            part.check_invariants()
        for member in self.table:
            assert len(member.accusations) <= ACCUSATIONS_PER_MEMBER_MAX
            is_running = self._suspicions.find(member.peer_id) is not None
            assert is_running == (member.state == "suspect" and bool(member.accusations))
        assert not self.table.local.accusations, "the local peer refutes"

    def _resume(self, now: float) -> None:
        """This process did not run: what it did not hear proves nothing."""
        self._health.worsen(STALL_WORSENS)
        self._pings.resume(now)
        self._probes.resume(now=now)
        self._relays.resume()
        self._suspicions.resume(members=self.table.living_count, now=now)

    def _end_suspicions(self, now: float) -> list[MachineEffect]:
        effects: list[MachineEffect] = []
        last_word_s = self._local.config.probe_timeout_s * self._health.factor
        for peer_id in self._suspicions.ended(now=now):
            member = self.table.find(peer_id)
            assert member is not None, "suspects are members"
            if self._suspicions.grant_last_word(peer_id, for_s=last_word_s, now=now):
                effects.append(self._pings.ping(member, now=now))
            else:
                self._judge.condemn(member, now=now)
        return effects

    def _answer_sync(self, sync: Sync, member: Member, now: float) -> list[MachineEffect]:
        """Compare tables; but a member may name any address as its own, and the answer is large: ask there first."""
        if member.round_trip_s is not None or self._anti_entropy.agrees(sync):
            return self._anti_entropy.answer(sync, sender=member, now=now)
        member.held_sync = sync
        return [self._pings.ping(member, now=now, carries_news=False)]

    def _take_ack(self, ack: Ack, member: Member, now: float, effects: list[MachineEffect]) -> None:
        sent = self._pings.answered(member, ack.sequence)
        if sent is not None:
            held, member.held_sync = member.held_sync, None
            if held is not None:
                effects += self._anti_entropy.answer(held, sender=member, now=now)
            effects += self._pings.time_sample(member, sent, ack, now=now)
            effects += self._relays.answered(ack.sequence)
            self._probes.answered(sent)

    def _take_updates(self, updates: tuple[bytes, ...], now: float, effects: list[MachineEffect]) -> bool:
        """Weigh evidence; return whether its sender should see this peer's current descriptor."""
        is_outdated = False
        for encoded in updates:
            known = self._news.find(encoded)
            if known is not None:
                self._heard_again(known.subject, known.author)
                continue
            try:
                evidence = decode_evidence(encoded)
            except DecodeError:
                continue  # a member of another version, or a broken one: the other pieces stand for themselves
            subject = subject_of(evidence)
            if subject == self._local.peer_id:
                is_outdated |= self._defend(evidence, now, effects)
                continue
            known_as = self.table.find(subject)
            was_living = known_as is not None and known_as.is_living
            if self._judge.admit(evidence, now=now):
                self._heard_news(evidence, was_living, now, effects)
            else:
                self._heard_again(subject, evidence.author)
        return is_outdated

    def _heard_news(self, evidence: Evidence, was_living: bool, now: float, effects: list[MachineEffect]) -> None:
        member = self.table.find(subject_of(evidence))
        assert member is not None, "news is about members"
        self._spreading.pass_on(evidence, member, is_change=member.is_living != was_living, now=now)
        if not isinstance(evidence, Accusation) or not member.is_living:
            return
        if evidence.kind == "refused":
            self._crashes.another_refused(member, now=now)
        elif len(member.accusations) == 1:
            others = self.table.living_count - 2  # neither this peer nor the accused
            if self._local.random.random() * others < SECOND_PROBES:
                effects += self._probes.start(member, now=now)

    def _heard_again(self, subject: PeerId, author: PeerId) -> None:
        """Count an echo: of the very piece, or of a verdict that needs no further accuser."""
        members = self.table.living_count
        member = self.table.find(subject)
        if subject != author and member is not None and not member.is_living:
            for accuser in member.accusations:
                self._news.echoed(subject=subject, author=accuser, members=members)
        else:
            self._news.echoed(subject=subject, author=author, members=members)

    def _defend(self, evidence: Evidence, now: float, effects: list[MachineEffect]) -> bool:
        """Weigh evidence about the local peer; return whether whoever holds it should be told better."""
        own = self._local.descriptor
        if evidence == own:
            return False
        if order_of(evidence) < order_of(own):
            return True
        if isinstance(evidence, Accusation) and order_of(evidence) > order_of(own):
            return False  # an invention: nobody but this peer makes its incarnations
        if not self._local.is_authentic(evidence):
            return False
        if evidence.boot > own.boot:
            if not self._is_doubled:
                self._is_doubled = True
                effects.append(Report(Alarm("another process runs with the key of this peer: stop one of them")))
            return False
        self._health.worsen()
        self._redescribe(self._local.refute(above=evidence.incarnation), now)
        return True

    def _redescribe(self, own: Descriptor, now: float) -> None:
        self.table.describe(self.table.local, own)
        self._news.add(own)
        self._spreading.schedule(now=now)

    def _correct(self, member: Member, is_outdated: bool, effects: list[MachineEffect]) -> None:
        """Show ``member`` our descriptor when it told us something older or untrue about ourselves."""
        if is_outdated:
            effects.append(Tell(member.peer_id, Gossip(updates=(self._local.descriptor.encoded,))))

    def _with_changes(self, effects: list[MachineEffect], now: float) -> list[MachineEffect]:
        """Tell the parts and the application what changed in the table."""
        changes = self.table.take_changes()
        if not changes:
            return effects
        self._absent.changed(changes, now=now)
        self._anti_entropy.changed(changes, now=now)
        for change in changes:
            peer_id = change.descriptor.peer_id
            if change.state != "suspect":
                self._crashes.close(peer_id)
            if change.state in ("failed", "left"):
                self._probes.close(peer_id)
        return [*effects, *map(Report, changes)]
