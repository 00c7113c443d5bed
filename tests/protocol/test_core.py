"""How the core hands inputs to its machines, and what it turns their decisions into."""

import random
from collections.abc import Iterable

import msgspec
import pytest

from protocol.config import LOCAL
from protocol.core import Core, CoreStart
from protocol.effects import (
    AddressChanged,
    Alarm,
    ContactsFound,
    Effect,
    KeepLinks,
    LeaveAsked,
    LinkLost,
    MemberChanged,
    Persist,
    Received,
    Report,
    RoleChanged,
    Send,
    TryConnection,
    Woken,
)
from protocol.identity import CachingVerifier
from protocol.ids import short_id_of
from protocol.messages import (
    Ack,
    Announce,
    BootNotice,
    CertificateRequest,
    Gossip,
    Heartbeat,
    JoinForward,
    JoinReply,
    JoinRequest,
    LeaderClaim,
    Message,
    Ping,
    PreVoteRequest,
    VoteReply,
    VoteRequest,
    WhoAreYou,
)
from protocol.statements import Address, Ballot, Certificate, Descriptor, Leave, Vote, council_hash, signed
from tests.protocol.samples import NETWORK, descriptor, identity

START = 1000.0
WALL_MS = 1_800_000_000_000
BOOT = 5
ME = descriptor(1, boot=BOOT)
_VERIFIER = CachingVerifier()

RANKED = sorted(range(1, 6), key=lambda number: identity(number).peer_id)
"""Peers 1 to 5 in the order of their ids."""


def core(*, knows: Iterable[int] = (), number: int = 1, boot: int = BOOT) -> Core:
    """Return a core that met the peers it knows, and whose election is open."""
    subject = Core(
        CoreStart(
            identity=identity(number),
            network=NETWORK,
            descriptor=descriptor(number, boot=boot),
            config=LOCAL,
            verifier=_VERIFIER,
            random=random.Random(1),
            promise=None,
            may_vote=True,
            remembered=(),
            wall_ms=WALL_MS,
            now=START,
        )
    )
    others = [other for other in knows if other != number]
    for other in others:
        subject.handle(received(JoinRequest(descriptor=descriptor(other), nonce=other), other), START)
    if others:
        subject.next_deadline()
        pass_time(subject, until=START + 0.2)
    return subject


def pass_time(subject: Core, *, until: float) -> list[Effect]:
    """Wake a core whenever it wants to be woken."""
    effects: list[Effect] = []
    while (at := subject.next_deadline()) <= until:
        effects += subject.handle(Woken(), at)
    return effects


def received(message: Message, sender: int, *, boot: int = 1, to_boot: int = BOOT) -> Received:
    """Return a datagram that a peer sealed, for the boot that it knows."""
    addressed = msgspec.structs.replace(message, receiver_boot=to_boot)
    who = descriptor(sender, boot=boot)
    return Received(addressed, who.address, short_id_of(who.peer_id), boot)


def sent(effects: list[Effect], kind: type[Message] | None = None) -> list[Send]:
    return [
        effect for effect in effects if isinstance(effect, Send) and (kind is None or isinstance(effect.message, kind))
    ]


def events(effects: list[Effect]) -> list[str]:
    return [type(effect.event).__name__ for effect in effects if isinstance(effect, Report)]


def vote_request(candidate: int, term: int = 1) -> VoteRequest:
    council = tuple(identity(number).peer_id for number in RANKED)
    return VoteRequest(ballot=Ballot(term, identity(candidate).peer_id), council=council)


# Boots


@pytest.mark.parametrize("to_boot", [0, BOOT - 1, BOOT + 1])
def test_message_for_another_boot_changes_nothing_and_is_answered_with_the_boot(to_boot: int) -> None:
    """A replay after a restart does nothing; an honest sender learns to send again (DESIGN section 4)."""
    subject = core(knows=RANKED, number=RANKED[-1])
    effects = subject.handle(received(vote_request(RANKED[0]), RANKED[0], to_boot=to_boot), START + 0.2)

    notice = BootNotice(receiver_boot=1, descriptor=subject.descriptor)
    there = descriptor(RANKED[0])
    assert effects == [Send(notice, there.address, short_id_of(there.peer_id))]
    assert subject.election.term == 0


def test_ping_of_another_boot_is_answered() -> None:
    """It changes nothing, so it may ask a boot that is gone."""
    effects = core(knows=[2]).handle(received(Ping(sequence=7), 2, to_boot=1), START + 0.2)

    assert [send.message.sequence for send in sent(effects, Ack)] == [7]  # type: ignore[attr-defined]


def test_boot_notice_of_the_sender_itself_is_learned() -> None:
    """And that of anybody else is not."""
    subject = core(knows=[2, 3])
    restarted = descriptor(2, boot=9)

    subject.handle(received(BootNotice(descriptor=restarted), 3), START + 0.2)
    found = subject.membership.table.find(restarted.peer_id)
    assert found is not None and found.descriptor.boot == 1

    subject.handle(received(BootNotice(descriptor=restarted), 2, boot=9), START + 0.2)
    found = subject.membership.table.find(restarted.peer_id)
    assert found is not None and found.descriptor.boot == 9


# Strangers


def test_sealed_message_of_a_stranger_is_answered_by_a_question_only() -> None:
    """It holds the network key, but nobody vouched for its id: it is not heard before it is known."""
    subject = core(knows=[2])
    claim = LeaderClaim(Ballot(3, identity(9).peer_id), 5)

    effects = subject.handle(received(Ping(sequence=1, claim=claim), 9), START + 0.2)

    stranger = descriptor(9)
    assert effects == [Send(WhoAreYou(), stranger.address, short_id_of(stranger.peer_id))]
    assert subject.membership.table.find(stranger.peer_id) is None


def test_later_boot_of_a_member_introduces_itself_and_an_earlier_one_is_ignored() -> None:
    """Datagrams of a run that is over may still be on their way."""
    subject = core(knows=[2, 3])
    subject.handle(received(BootNotice(descriptor=descriptor(2, boot=4)), 2, boot=4), START + 0.2)

    assert sent(subject.handle(received(Ping(sequence=1), 2, boot=6), START + 0.2), WhoAreYou)
    assert sent(subject.handle(received(Ping(sequence=1), 2, boot=3), START + 0.2)) == []


def test_questions_to_strangers_are_bounded() -> None:
    """At most some hundred per second, whatever arrives."""
    subject = core(knows=[2])
    asked = 0
    for number in range(1000):
        asked += len(sent(subject.handle(received(Ping(sequence=1), 100 + number % 5), START + 0.2), WhoAreYou))

    assert 100 <= asked <= 200


def test_peer_that_is_asked_who_it_is_introduces_itself_to_the_asking_boot() -> None:
    """At the address that the question came from."""
    subject = core()
    effects = subject.handle(received(WhoAreYou(), 2, boot=6), START + 0.1)

    (send,) = sent(effects, JoinRequest)
    there = descriptor(2)
    assert (send.address, send.receiver, send.message.receiver_boot) == (there.address, short_id_of(there.peer_id), 6)


@pytest.mark.parametrize("to_boot", [0, BOOT - 1, BOOT + 1])
def test_old_word_about_members_and_leaders_is_not_heard(to_boot: int) -> None:
    """A recorded ping of a member is answered by a later boot, but what it told then may be over (threats, replay)."""
    subject = core(knows=[2, 3])
    gone = descriptor(9).encoded
    claim = LeaderClaim(Ballot(1, identity(3).peer_id), 5)

    for replayed in (Ping(sequence=1, updates=(gone,), claim=claim), Ack(sequence=1, wall_ms=1, updates=(gone,))):
        effects = subject.handle(received(replayed, 2, to_boot=to_boot), START + 0.2)
        assert sent(effects, CertificateRequest) == [] and events(effects) == []
    assert subject.membership.table.find(identity(9).peer_id) is None

    subject.handle(received(Ping(sequence=2, updates=(gone,)), 2), START + 0.2)
    assert subject.membership.table.find(identity(9).peer_id) is not None


# Joining


@pytest.mark.parametrize("to_boot", [0, BOOT - 1, BOOT + 1])
def test_introduction_to_another_boot_brings_nobody_in(to_boot: int) -> None:
    """A newcomer learns the boot and asks again; a recorded introduction only gets the same small answer."""
    subject = core()
    effects = subject.handle(received(JoinRequest(descriptor=descriptor(2), nonce=7), 2, to_boot=to_boot), START + 0.1)

    there = descriptor(2)
    notice = BootNotice(receiver_boot=1, descriptor=ME)
    assert effects == [Send(notice, there.address, short_id_of(there.peer_id))]
    assert subject.membership.table.find(there.peer_id) is None


def test_newcomer_that_is_told_the_boot_asks_again() -> None:
    """The notice of a contact is no welcome yet."""
    subject = core()
    effects = subject.handle(received(BootNotice(descriptor=descriptor(2, boot=3)), 2, boot=3), START + 0.1)

    (send,) = sent(effects)
    there = descriptor(2)
    assert isinstance(send.message, JoinRequest) and send.message.receiver_boot == 3
    assert (send.address, send.receiver) == (there.address, short_id_of(there.peer_id))
    assert subject.membership.table.find(there.peer_id) is None


def test_notice_for_an_earlier_boot_teaches_nothing() -> None:
    """It is a replay."""
    subject = core(knows=[2])
    later = descriptor(2, boot=9)

    assert subject.handle(received(BootNotice(descriptor=later), 2, boot=9, to_boot=BOOT - 1), START + 0.2) == []
    found = subject.membership.table.find(later.peer_id)
    assert found is not None and found.descriptor.boot == 1


def test_contacts_are_asked_in_the_same_call() -> None:
    """Seeds are not waited for."""
    there = descriptor(2).address

    assert [send.address for send in sent(core().handle(ContactsFound((there,)), START), JoinRequest)] == [there]


def test_newcomer_is_welcomed_with_time_and_leader() -> None:
    """Any peer can be asked (DESIGN section 6, joining)."""
    subject = core()
    effects = subject.handle(received(JoinRequest(descriptor=descriptor(2), nonce=77), 2), START + 0.1)

    (send,) = sent(effects, JoinReply)
    reply = send.message
    assert isinstance(reply, JoinReply)
    assert (reply.descriptor, reply.nonce, reply.members) == (ME, 77, 2)
    assert reply.network_time_ms == WALL_MS + 100
    assert events(effects) == ["MemberChanged", "BecameReady"]


@pytest.mark.parametrize(
    ("newcomer", "sender", "boot"),
    [
        (descriptor(2), 3, 1),  # handed in by somebody else
        (descriptor(2, boot=2), 2, 1),  # of another boot than the sealed one
        (msgspec.structs.replace(descriptor(2), name="forged"), 2, 1),
    ],
)
def test_false_introduction_is_not_answered(newcomer: Descriptor, sender: int, boot: int) -> None:
    """The descriptor must be signed, the sender's own, and of this boot."""
    subject = core()

    assert subject.handle(received(JoinRequest(descriptor=newcomer, nonce=1), sender, boot=boot), START + 0.1) == []


def test_newcomer_is_handed_to_the_leader_once() -> None:
    """The leader introduces it to everybody; a repeated request of the same boot is only answered again."""
    subject = core(knows=RANKED, number=RANKED[4])
    follow(subject, RANKED[0])
    request = received(JoinRequest(descriptor=descriptor(9), nonce=1), 9)

    first = subject.handle(request, START + 0.3)
    again = subject.handle(request, START + 0.31)

    (forwarded,) = sent(first, JoinForward)
    assert forwarded.receiver == short_id_of(identity(RANKED[0]).peer_id)
    assert forwarded.message == JoinForward(receiver_boot=1, descriptor=descriptor(9))
    assert sent(again, JoinForward) == [] and len(sent(again, JoinReply)) == 1


def test_newcomer_that_was_handed_over_is_introduced_unless_it_is_known() -> None:
    """Whoever told of it before had it introduced."""
    subject = core(knows=RANKED)
    subject.next_deadline()
    handed = received(JoinForward(descriptor=descriptor(9)), RANKED[1])
    known = received(Gossip(updates=(descriptor(10).encoded,)), RANKED[1])

    effects = subject.handle(handed, START + 0.3)
    effects += subject.handle(known, START + 0.3)
    effects += subject.handle(received(JoinForward(descriptor=descriptor(10)), RANKED[1]), START + 0.3)
    effects += pass_time(subject, until=START + 0.35)

    (told,) = {send.message for send in sent(effects, Gossip)}
    assert isinstance(told, Gossip) and told.updates == (descriptor(9).encoded,)


def test_newcomer_has_nobody_introduced_whom_it_had_to_ask() -> None:
    """A stranger that knows it is a member that its table does not have yet; a restarted one it knows is not."""
    subject = core()
    subject.handle(received(JoinRequest(descriptor=descriptor(2), nonce=1), 2), START)
    introduced = []
    for stranger, boot in ((9, 1), (2, 5)):
        assert sent(subject.handle(received(Ping(sequence=1), stranger, boot=boot), START + 0.05), WhoAreYou)
        request = JoinRequest(descriptor=descriptor(stranger, boot=boot), nonce=2)
        assert sent(subject.handle(received(request, stranger, boot=boot), START + 0.05), JoinReply)
        member = subject.membership.table.find(identity(stranger).peer_id)
        introduced.append(member is not None and member.is_introduced)

    assert introduced == [False, True]


def test_reply_is_believed_once_and_only_to_an_own_request() -> None:
    """Its nonce binds it: a replayed welcome brings nothing."""
    subject = core()
    (send,) = sent(subject.handle(ContactsFound((descriptor(2).address,)), START), JoinRequest)
    assert isinstance(send.message, JoinRequest)

    def reply(nonce: int) -> Received:
        welcome = JoinReply(descriptor=descriptor(2), nonce=nonce, network_time_ms=WALL_MS, members=1)
        return received(welcome, 2)

    assert subject.handle(reply(send.message.nonce + 1), START + 0.01) == []
    assert "BecameReady" in events(subject.handle(reply(send.message.nonce), START + 0.01))


def test_lone_peer_becomes_ready_and_leads_after_its_grace() -> None:
    """A network of one; before that it might be about to meet another."""
    subject = core()
    assert pass_time(subject, until=START + LOCAL.ready_timeout_s - 0.01) == []
    assert (subject.is_ready, subject.election.role) == (False, "follower")

    effects = pass_time(subject, until=START + LOCAL.ready_timeout_s)

    assert subject.is_ready and subject.election.role == "leader"
    assert {"BecameReady", "RoleChanged", "LeaderChanged"} <= set(events(effects))


def test_first_election_waits_until_the_table_is_quiet() -> None:
    """Peers that start together elect once, not once for each that arrives."""
    subject = core(number=RANKED[0])
    subject.next_deadline()
    asked: list[Effect] = []
    for step, other in enumerate(RANKED[1:]):
        at = START + 0.1 * step
        asked += pass_time(subject, until=at)
        asked += subject.handle(received(JoinRequest(descriptor=descriptor(other), nonce=1), other), at)
    assert sent(asked, PreVoteRequest) == []

    asked = pass_time(subject, until=START + 0.3 + 0.2)

    councils = {send.message.council for send in sent(asked, PreVoteRequest)}  # type: ignore[attr-defined]
    assert councils == {tuple(identity(number).peer_id for number in RANKED)}


# Between the machines


def follow(subject: Core, leader: int, term: int = 1) -> None:
    """Let a core follow a leader of the five."""
    council = tuple(identity(number).peer_id for number in RANKED)
    on = Ballot(term, identity(leader).peer_id)
    votes = tuple(
        signed(
            Vote(author_key=identity(voter).public_key, ballot=on, council_hash=council_hash(council), voter_boot=1),
            identity(voter),
            NETWORK.network_id,
        )
        for voter in RANKED[:3]
    )
    proof = Certificate(ballot=on, council=council, votes=votes)
    subject.handle(received(Announce(certificate=proof, followers=5), leader), START + 0.2)
    assert subject.election.leader == identity(leader).peer_id


def test_vote_is_on_disk_before_it_is_sent() -> None:
    """The core keeps the order in which the machine decided (invariant 1)."""
    subject = core(knows=RANKED, number=RANKED[4])
    effects = subject.handle(received(vote_request(RANKED[0]), RANKED[0]), START + 0.2)

    kinds = [type(effect.message) if isinstance(effect, Send) else type(effect) for effect in effects]
    assert kinds.index(Persist) < kinds.index(VoteReply)


def test_what_is_told_a_member_carries_its_address_and_boot() -> None:
    """Machines know ids only."""
    subject = core(knows=RANKED, number=RANKED[4])
    subject.handle(received(BootNotice(descriptor=descriptor(RANKED[0], boot=7)), RANKED[0], boot=7), START + 0.2)
    effects = subject.handle(received(vote_request(RANKED[0]), RANKED[0], boot=7), START + 0.2)

    (send,) = sent(effects, VoteReply)
    there = descriptor(RANKED[0])
    assert (send.address, send.receiver, send.message.receiver_boot) == (there.address, short_id_of(there.peer_id), 7)


def test_ack_tells_the_own_wall_clock() -> None:
    """For the network time of the others."""
    effects = core(knows=[2]).handle(received(Ping(sequence=7), 2), START + 0.25)

    assert [send.message.wall_ms for send in sent(effects, Ack)] == [WALL_MS + 250]  # type: ignore[attr-defined]


def test_claim_on_a_ping_reaches_the_election() -> None:
    """It asks the sender for the proof."""
    subject = core(knows=RANKED, number=RANKED[4])
    claim = LeaderClaim(Ballot(1, identity(RANKED[0]).peer_id), 5)

    effects = subject.handle(received(Ping(sequence=1, claim=claim), RANKED[1]), START + 0.2)

    (send,) = sent(effects, CertificateRequest)
    assert send.receiver == short_id_of(identity(RANKED[1]).peer_id)


def test_followed_leader_is_claimed_on_acks() -> None:
    """News of a leader reaches everybody within a few probes."""
    subject = core(knows=RANKED, number=RANKED[4])
    follow(subject, RANKED[0])

    effects = subject.handle(received(Ping(sequence=1), RANKED[1]), START + 0.3)

    (ack,) = sent(effects, Ack)
    assert ack.message.claim == LeaderClaim(Ballot(1, identity(RANKED[0]).peer_id), 5)  # type: ignore[attr-defined]


def test_heartbeat_alone_is_no_reason_to_tell_anybody() -> None:
    """Nothing but the ack leaves, and the claim stays the same object."""
    subject = core(knows=RANKED, number=RANKED[4])
    follow(subject, RANKED[0])
    claim = subject.membership.claim
    beat = Heartbeat(ballot=Ballot(1, identity(RANKED[0]).peer_id), sequence=1, followers=5)

    effects = subject.handle(received(beat, RANKED[0]), START + 0.21)

    assert [type(send.message).__name__ for send in sent(effects)] == ["HeartbeatAck"]
    assert events(effects) == [] and subject.membership.claim is claim


def test_links_are_held_to_the_leader_and_to_two_successors() -> None:
    """A crash of any of them is seen at once (DESIGN section 6); the ring closes behind the last."""
    subject = core(knows=RANKED, number=RANKED[4])
    follow(subject, RANKED[3])

    kept = [effect for effect in pass_time(subject, until=START + 0.5) if isinstance(effect, KeepLinks)]

    assert [peer.peer_id for peer in kept[-1].peers] == [identity(RANKED[number]).peer_id for number in (0, 1, 3)]


def test_links_follow_a_peer_that_moved() -> None:
    """A link leads to an address: where the peer was, another machine may refuse in its name."""
    subject = core(knows=RANKED, number=RANKED[4])
    pass_time(subject, until=START + 0.5)
    moved = descriptor(RANKED[0], incarnation=1, port=9999)

    gossip = Gossip(updates=(moved.encoded,), receiver_boot=BOOT)
    effects = subject.handle(received(gossip, RANKED[0]), START + 0.5) + pass_time(subject, until=START + 0.7)

    kept = [effect for effect in effects if isinstance(effect, KeepLinks)]
    assert moved in kept[-1].peers


def test_a_move_is_passed_to_the_membership() -> None:
    """The others hear the new address, and the peer knows itself there."""
    subject = core(knows=RANKED)
    address, api = Address("192.0.2.7", 7400), Address("192.0.2.7", 8400)

    effects = subject.handle(AddressChanged(address, api), START)

    assert (subject.descriptor.address, subject.descriptor.api) == (address, api)
    assert Report(MemberChanged(subject.descriptor, "alive", "alive")) in effects


def test_verdict_about_the_leader_starts_the_election_in_the_same_call() -> None:
    """Nobody waits: the election sees every change of the electorate before the call ends (invariant 2)."""
    subject = core(knows=RANKED, number=RANKED[1])
    follow(subject, RANKED[0])
    who = identity(RANKED[0])
    goodbye = signed(Leave(author_key=who.public_key, boot=1, incarnation=0), who, NETWORK.network_id)
    gossip = Gossip(updates=(goodbye.encoded,))

    effects = subject.handle(received(gossip, RANKED[2]), START + 0.3)

    assert events(effects) == ["MemberChanged", "LeaderChanged"]
    assert len(sent(effects, PreVoteRequest)) == 3


def test_ended_link_starts_probing_at_once() -> None:
    """By datagram and by connection."""
    subject = core(knows=[2, 3])

    effects = subject.handle(LinkLost(identity(2).peer_id), START + 0.3)

    assert sent(effects, Ping) and any(isinstance(effect, TryConnection) for effect in effects)


def test_goodbye_is_told() -> None:
    """The others need not find out."""
    assert sent(core(knows=[2, 3]).handle(LeaveAsked(), START + 0.3))


def test_time_that_passed_is_told_before_the_input() -> None:
    """A leader that was stopped steps down before it reads what waited in its socket."""
    subject = core()
    pass_time(subject, until=START + LOCAL.ready_timeout_s)
    for other in (2, 3):
        subject.handle(received(JoinRequest(descriptor=descriptor(other), nonce=1), other), START + 4)
    assert subject.election.role == "leader"
    subject.next_deadline()

    effects = subject.handle(received(CertificateRequest(ballot=Ballot(1, identity(1).peer_id)), 2), START + 9)

    roles = [
        effect.event.role for effect in effects if isinstance(effect, Report) and isinstance(effect.event, RoleChanged)
    ]
    assert roles == ["follower"]
    assert sent(effects, Announce) == []


def test_quiet_core_keeps_its_invariants() -> None:
    """For a minute of virtual time, with nobody answering: members fail, the core does not."""
    subject = core(knows=RANKED)
    effects = pass_time(subject, until=START + 60)
    subject.check_invariants()

    assert subject.election.role == "leader"
    states = [
        effect.event for effect in effects if isinstance(effect, Report) and isinstance(effect.event, MemberChanged)
    ]
    assert sum(event.state == "failed" for event in states) == 4
    assert not any(isinstance(effect, Report) and isinstance(effect.event, Alarm) for effect in effects)
