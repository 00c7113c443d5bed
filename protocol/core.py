"""The core of a peer: one door in, one list of effects out.

It owns the machines (membership, election, joining, network time), which know nothing of each other: the core
hands each message to the machine that it concerns, passes on what one machine's outcome means for the next, and
turns "tell this member" into sealed sends with address and boot filled in.

Time goes in as an argument and comes out as a question (``next_deadline``), after aioquic's connection. A call
that comes much later than the promised deadline means that this process did not run; the machines hear of it
before anything else, so that a stopped peer neither judges others nor acts on an old lease.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from protocol.core_start import CoreStart as CoreStart
from protocol.core_start import bans_of, election_of, membership_of
from protocol.effects import (
    AddressChanged,
    BanChanged,
    BanGiven,
    BecameReady,
    ConnectionRefused,
    ContactsFound,
    Effect,
    Electorate,
    HandoverAsked,
    Input,
    KeepBans,
    KeepVoters,
    LeaderChanged,
    LeaveAsked,
    LinkLost,
    MachineEffect,
    MemberChanged,
    Persist,
    Received,
    Report,
    Send,
    Tell,
    TellAddress,
    TimeSample,
    TryConnection,
    WallClockRead,
    Woken,
)
from protocol.ids import PeerId, ShortId, short_id_of
from protocol.joining import Joining
from protocol.limits import MEMBERS_MAX
from protocol.link_plan import LinkPlan
from protocol.messages import (
    ELECTION_MESSAGES,
    MEMBERSHIP_MESSAGES,
    Ack,
    BansKnown,
    BootNotice,
    JoinForward,
    JoinReply,
    JoinRequest,
    LeaderClaim,
    Message,
    Ping,
    WhoAreYou,
)
from protocol.network_time import NetworkClock
from protocol.readiness import Readiness
from protocol.statements import Address, Descriptor
from protocol.throttle import Throttle

_STRANGERS_PER_S: Final = 200
"""Introductions asked of senders that are not in the table; the rest is dropped (they will send again)."""


class Core:
    """One peer's decisions.

    Invariants:
        1. Every effect list keeps the order in which the machines decided; ``Persist`` before its ``Send``.
        2. The election sees every change of the electorate before the call ends.
        3. The machines' own invariants (``check_invariants``).
    """

    def __init__(self, start: CoreStart) -> None:
        self.network: Final = start.network
        self.config: Final = start.config
        self.clock: Final = NetworkClock(wall_ms=start.wall_ms, now=start.now)
        self.bans: Final = bans_of(start)
        self.membership: Final = membership_of(start, self.bans)
        self.election: Final = election_of(start)
        self._verifier = start.verifier
        self._joining = Joining(start.config, start.random)
        self._readiness = Readiness(now=start.now, ready_timeout_s=start.config.ready_timeout_s)
        self._links = LinkPlan()
        self._seen: Electorate | None = None
        """What the last electorate was made from; the membership makes a new one with each change."""
        self._electorate: Electorate | None = None
        self._promised: float = float("inf")
        self._strangers = Throttle(_STRANGERS_PER_S)

    @property
    def descriptor(self) -> Descriptor:
        """The local peer's current own descriptor."""
        return self.membership.descriptor

    @property
    def is_ready(self) -> bool:
        """Whether another peer was met, or the time to wait for one passed."""
        return self._readiness.is_ready

    def handle(self, event: Input, now: float) -> list[Effect]:
        """Take one input; return what to do, in order."""
        effects: list[Effect] = []
        late_by = now - self._promised
        if late_by >= 0:
            self._wake(late_by, now, effects)
        match event:
            case Received():
                self._receive(event, now, effects)
            case ContactsFound():
                self._joining.found(event.contacts, own=self.descriptor, now=now, are_hints=event.are_hints)
                self._ask_contacts(now, effects)
            case LinkLost():
                self._take(self.membership.link_lost(event.peer_id, now=now), now, effects)
            case ConnectionRefused():
                self._take(self.membership.connection_refused(event.peer_id, event.boot, now=now), now, effects)
            case HandoverAsked():
                self._take(self.election.hand_over(event.successor, now=now), now, effects)
            case BanGiven(ban):
                self._take(self.bans.given(ban, self.membership.electorate.living, now=now), now, effects)
            case AddressChanged(address, api):
                self._take(self.membership.relocate(address=address, api=api, now=now), now, effects)
            case LeaveAsked():
                self._take(self.membership.leave(now=now), now, effects)
            case WallClockRead():
                self.clock.read_wall(event.wall_ms, now)
            case Woken():
                pass  # what was due has been done above
        self._settle(now, effects)
        return effects

    def next_deadline(self) -> float:
        """Return when to call ``handle(Woken(), now)`` at the latest, in the time of ``now``."""
        self._promised = min(
            self.membership.next_deadline(),
            self.election.next_deadline(),
            self._joining.next_deadline(),
            self._readiness.next_deadline(),
            self._links.next_deadline(),
            self.bans.next_deadline(),
        )
        return self._promised

    def network_time_ms(self, now: float) -> int:
        """Return network time in milliseconds since 1970."""
        return self.clock.time_ms(now)

    def check_invariants(self) -> None:
        """Assert what must always hold; a peer whose memory is wrong must stop."""
        self.membership.check_invariants()
        self.election.check_invariants()
        self._joining.check_invariants()
        self.bans.check_invariants()

    # Time

    def _wake(self, late_by: float, now: float, effects: list[Effect]) -> None:
        self._take(self.election.wake(now=now, late_by=late_by), now, effects)
        self._take(self.membership.wake(now=now, late_by=late_by), now, effects)
        if self._readiness.grace_over(now):
            if self._readiness.wait_no_longer():
                effects.append(Report(BecameReady()))
            self._take(self.membership.end_grace(now=now), now, effects)
        self._take(self.bans.wake(self.membership.electorate.living, now=now), now, effects)
        self._ask_contacts(now, effects)

    def _ask_contacts(self, now: float, effects: list[Effect]) -> None:
        if self._joining.next_deadline() <= now:
            addresses = frozenset([descriptor.address for descriptor in self.membership.table.living_descriptors])
            self._take(self._joining.wake(own=self.descriptor, members=addresses, now=now), now, effects)

    # Messages

    def _receive(self, event: Received, now: float, effects: list[Effect]) -> None:
        message = event.message
        if self.bans.refuses(event.sender):
            word = self.bans.word_to(event.sender, event.sender_boot, now=now)
            if word is not None:
                self._tell_address(event.source, word, event.sender, effects)
            return
        if message.changes_state and message.receiver_boot != self.descriptor.boot:
            notice = BootNotice(receiver_boot=event.sender_boot, descriptor=self.descriptor)
            self._tell_address(event.source, notice, event.sender, effects)
            return
        if isinstance(message, JoinRequest):
            self._welcome(message, event, now, effects)
            return
        if isinstance(message, WhoAreYou):
            self._introduce_to(event, event.sender_boot, now, effects)
            return
        if isinstance(message, JoinReply):
            self._welcomed(message, event, now, effects)
            return
        if isinstance(message, BootNotice):
            self._boot_told(message, event, now, effects)
            return
        if isinstance(message, BansKnown):  # the admin's word, whoever brings it
            member = self.membership.table.by_short_id(event.sender)
            partner = member.peer_id if member is not None and member.descriptor.boot == event.sender_boot else None
            self._take(self.bans.heard(message, partner, self.membership.electorate.living, now=now), now, effects)
            return
        sender = self._member_behind(event, now, effects)
        if sender is not None:
            self._dispatch(message, sender, now, effects)

    def _member_behind(self, event: Received, now: float, effects: list[Effect]) -> PeerId | None:
        """Return the member that sent this in its current boot; ask anybody else to introduce itself."""
        member = self.membership.table.by_short_id(event.sender)
        if member is not None and member.descriptor.boot == event.sender_boot:
            return member.peer_id
        if (member is None or event.sender_boot > member.descriptor.boot) and self._strangers.allows(now):
            if member is None and not self._readiness.may_elect(now):
                self._joining.asked_who(event.sender)
            self._tell_address(event.source, WhoAreYou(), event.sender, effects)
        return None

    def _dispatch(self, message: Message, sender: PeerId, now: float, effects: list[Effect]) -> None:
        if isinstance(message, (Ping, Ack)) and message.receiver_boot != self.descriptor.boot:
            message = msgspec.structs.replace(message, updates=(), claim=None)  # what it tells may be long over
        if isinstance(message, MEMBERSHIP_MESSAGES):
            self._take(self.membership.handle(message, sender=sender, now=now), now, effects)
            if isinstance(message, (Ping, Ack)):
                self._met(now, effects)
                if message.claim is not None:
                    self._claimed(message.claim, sender, now, effects)
                elif sender == self.election.leader:
                    self._take(self.election.claim_missed(now), now, effects)
        elif isinstance(message, ELECTION_MESSAGES):
            self._update_electorate(now, effects)
            self._take(self.election.handle(message, sender=sender, now=now), now, effects)
        elif isinstance(message, JoinForward) and self._is_new(message.descriptor):  # else others introduced it
            self._take(self.membership.learn(message.descriptor, now=now), now, effects)
            self.membership.introduce(message.descriptor.peer_id, now=now)

    def _claimed(self, claim: LeaderClaim, sender: PeerId, now: float, effects: list[Effect]) -> None:
        self._update_electorate(now, effects)
        self._take(self.election.claim_seen(claim, sender=sender, now=now), now, effects)

    # Joining

    def _introduce_to(self, event: Received, boot: int, now: float, effects: list[Effect]) -> None:
        if self._strangers.allows(now):
            request = self._joining.ask(event.source, own=self.descriptor, now=now, receiver=event.sender, boot=boot)
            self._take([request], now, effects)

    def _boot_told(self, notice: BootNotice, event: Received, now: float, effects: list[Effect]) -> None:
        """Learn the boot of a member; ask a contact again, now that its boot is known."""
        told = notice.descriptor
        if short_id_of(told.peer_id) != event.sender or notice.receiver_boot != self.descriptor.boot:
            return
        known = self.membership.table.find(told.peer_id)
        if known is None or not known.is_living:
            self._introduce_to(event, event.sender_boot, now, effects)
        if known is not None:
            self._take(self.membership.learn(told, now=now), now, effects)

    def _welcome(self, request: JoinRequest, event: Received, now: float, effects: list[Effect]) -> None:
        newcomer = request.descriptor
        if short_id_of(newcomer.peer_id) != event.sender or newcomer.boot != event.sender_boot:
            return
        if not newcomer.is_authentic(self._verifier, self.network.network_id):
            return
        is_new, was_asked = self._is_new(newcomer), self._joining.was_asked_who(event.sender)
        self._take(self.membership.learn(newcomer, now=now), now, effects)
        if self.membership.table.find(newcomer.peer_id) is None:
            return  # the table is full
        reply = JoinReply(
            descriptor=self.descriptor,
            nonce=request.nonce,
            network_time_ms=self.clock.time_ms(now),
            members=min(self.membership.table.living_count, MEMBERS_MAX),
            claim=self.election.claim,
        )
        self._tell_address(event.source, reply, event.sender, effects)
        self._met(now, effects)
        if is_new:
            self._take([Tell(newcomer.peer_id, page) for page in self.bans.pages()], now, effects)
            if not was_asked:
                self._have_introduced(newcomer, now, effects)

    def _is_new(self, newcomer: Descriptor) -> bool:
        """Return whether this boot of a peer is not known as a member."""
        known = self.membership.table.find(newcomer.peer_id)
        return known is None or not known.is_living or known.descriptor.boot < newcomer.boot

    def _have_introduced(self, newcomer: Descriptor, now: float, effects: list[Effect]) -> None:
        """Let the leader introduce a newcomer to everybody; where nobody leads, the lowest id does."""
        leader = self.election.leader
        if leader is None or leader == newcomer.peer_id:
            leader = self.membership.introducer(newcomer.peer_id, now=now)
        if leader == self.descriptor.peer_id:
            self.membership.introduce(newcomer.peer_id, now=now)
        else:
            self._take([Tell(leader, JoinForward(descriptor=newcomer))], now, effects)

    def _welcomed(self, reply: JoinReply, event: Received, now: float, effects: list[Effect]) -> None:
        contact = reply.descriptor
        if short_id_of(contact.peer_id) != event.sender or not self._joining.is_answer(reply):
            return
        if not contact.is_authentic(self._verifier, self.network.network_id):
            return
        if not self._readiness.has_met:
            self.clock.told(reply.network_time_ms, now=now)
        self._take(self.membership.learn(contact, now=now), now, effects)
        self.membership.sync_with(contact.peer_id, members=reply.members, now=now)
        self._take(self.election.greet(contact.peer_id, now), now, effects)
        self._met(now, effects)
        if reply.claim is not None:
            self._claimed(reply.claim, contact.peer_id, now, effects)

    def _met(self, now: float, effects: list[Effect]) -> None:
        if self._readiness.met(now):
            effects.append(Report(BecameReady()))

    # What one machine's outcome means for the others

    def _take(self, machine_effects: Sequence[MachineEffect], now: float, effects: list[Effect]) -> None:
        for effect in machine_effects:
            match effect:
                case Tell(peer_id, message):
                    member = self.membership.table.find(peer_id)
                    if member is not None:
                        if isinstance(message, Ack):
                            message = msgspec.structs.replace(message, wall_ms=self.clock.wall_ms(now))
                        self._send(member.descriptor, message, effects)
                case TellAddress(address, message, receiver):
                    self._tell_address(address, message, receiver, effects)
                case TimeSample(peer_id, wall_ms, round_trip_s):
                    self.clock.sample(peer_id, wall_ms=wall_ms, round_trip_s=round_trip_s, now=now)
                case Report(event):
                    effects.append(effect)
                    if isinstance(event, MemberChanged):
                        self._readiness.table_changed(now)
                        if event.state == event.previous:
                            self._links.rearrange_soon(now)  # it may have moved, and a link leads to an address
                        if event.state in ("failed", "left"):
                            self.clock.forget(event.descriptor.peer_id)
                    elif isinstance(event, LeaderChanged):
                        self._links.rearrange_soon(now)
                    elif isinstance(event, BanChanged):
                        self._take(self.membership.ban_changed(event.ban, now=now), now, effects)
                case Persist() | KeepVoters() | KeepBans() | TryConnection():
                    effects.append(effect)

    def _settle(self, now: float, effects: list[Effect]) -> None:
        self._update_electorate(now, effects)
        claim = self.election.claim
        if claim is not self.membership.claim:
            self.membership.claim = claim
        if now < self._links.next_deadline():
            return
        links = self._links.arranged(
            own=self.descriptor.peer_id,
            living=self.membership.electorate.living,
            leader=self.election.leader,
            describe=self._describe,
            now=now,
        )
        if links is not None:
            effects.append(links)

    def _describe(self, peer_id: PeerId) -> Descriptor | None:
        member = self.membership.table.find(peer_id)
        return member.descriptor if member is not None else None

    def _update_electorate(self, now: float, effects: list[Effect]) -> None:
        seen, ready = self.membership.electorate, self._readiness.may_elect(now)
        if seen is self._seen and self._electorate is not None and self._electorate.ready == ready:
            return
        self._seen = seen
        electorate = Electorate(seen.living, seen.suspects, ready=ready)
        if electorate != self._electorate:
            if self._electorate is None or electorate.living != self._electorate.living:
                self._links.rearrange_soon(now)
            self._electorate = electorate
            self._take(self.election.electorate_changed(electorate, now=now), now, effects)

    # Sending

    def _send(self, to: Descriptor, message: Message, effects: list[Effect]) -> None:
        addressed = msgspec.structs.replace(message, receiver_boot=to.boot)
        effects.append(Send(addressed, to.address, short_id_of(to.peer_id)))

    def _tell_address(self, address: Address, message: Message, receiver: ShortId, effects: list[Effect]) -> None:
        effects.append(Send(message, address, receiver))
