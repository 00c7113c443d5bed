"""One membership machine under test, the statements of others, and shorthands for what it answers."""

import random
from collections.abc import Sequence

from protocol.codec import decode_evidence
from protocol.config import LOCAL, ProtocolConfig
from protocol.effects import MachineEffect, MemberChanged, MemberState, Report, Tell, TryConnection
from protocol.identity import CachingVerifier
from protocol.ids import PeerId
from protocol.members import Member, Membership
from protocol.members.local import Kind
from protocol.messages import Ack, Gossip, Message, Ping
from protocol.statements import Accusation, Descriptor, Evidence, Leave, signed
from tests.protocol import samples
from tests.protocol.samples import NETWORK_ID, descriptor, identity

ME = 1
START = 100.0
VERIFIER = CachingVerifier(entries_max=100_000)


def peer_id(number: int) -> PeerId:
    return identity(number).peer_id


def membership(
    *others: int,
    me: int = ME,
    boot: int = 1,
    config: ProtocolConfig = LOCAL,
    remembered: Sequence[Descriptor] = (),
    now: float = START,
    seed: int = 0,
) -> Membership:
    """Return the machine of peer ``me`` that learned of ``others`` long ago; its news are all told."""
    subject = Membership(
        identity=identity(me),
        network_id=NETWORK_ID,
        descriptor=descriptor(me, boot=boot),
        config=config,
        verifier=VERIFIER,
        random=random.Random(seed),
        now=now - 10,
        remembered=tuple(remembered),
    )
    for other in others:
        subject.learn(descriptor(other), now=now - 10)
    return subject


def accusation(accuser: int, accused: int, *, kind: Kind = "silent", boot: int = 1, incarnation: int = 0) -> Accusation:
    who = identity(accuser)
    statement = Accusation(
        author_key=who.public_key, accused=peer_id(accused), boot=boot, incarnation=incarnation, kind=kind
    )
    return signed(statement, who, NETWORK_ID)


def leave(number: int, *, boot: int = 1, incarnation: int = 0) -> Leave:
    who = identity(number)
    return signed(Leave(author_key=who.public_key, boot=boot, incarnation=incarnation), who, NETWORK_ID)


def gossip(*evidence: Evidence) -> Gossip:
    return Gossip(updates=tuple(each.encoded for each in evidence), receiver_boot=1)


def tell(subject: Membership, *evidence: Evidence, sender: int, now: float = START) -> list[MachineEffect]:
    """Let ``sender`` gossip ``evidence`` to the subject."""
    return subject.handle(gossip(*evidence), sender=peer_id(sender), now=now)


def member(subject: Membership, number: int) -> Member:
    found = subject.table.find(peer_id(number))
    assert found is not None, f"peer {number} is not in the table"
    return found


def state(subject: Membership, number: int) -> MemberState:
    return member(subject, number).state


def proved(subject: Membership, *numbers: int) -> Membership:
    """Let members have answered a ping before: their addresses are their own."""
    for number in numbers:
        member(subject, number).round_trip_s = 0.001
    return subject


def messages(effects: Sequence[MachineEffect], to: int | None = None) -> list[Message]:
    """Return what is sent, to everybody or to one peer."""
    return [
        effect.message
        for effect in effects
        if isinstance(effect, Tell) and (to is None or effect.peer_id == peer_id(to))
    ]


def receivers(effects: Sequence[MachineEffect], kind: type[Message]) -> list[PeerId]:
    return [effect.peer_id for effect in effects if isinstance(effect, Tell) and isinstance(effect.message, kind)]


def evidence_in(message: Message) -> list[Evidence]:
    assert isinstance(message, (Ping, Ack, Gossip))
    return [decode_evidence(encoded) for encoded in message.updates]


def tried(effects: Sequence[MachineEffect]) -> list[PeerId]:
    """Return whose address is tried for a TCP connection."""
    return [effect.peer.peer_id for effect in effects if isinstance(effect, TryConnection)]


def changes(effects: Sequence[MachineEffect]) -> list[tuple[str, MemberState, MemberState | None]]:
    """Return the reported changes: name, state, previous state."""
    return [
        (effect.event.descriptor.name, effect.event.state, effect.event.previous)
        for effect in effects
        if isinstance(effect, Report) and isinstance(effect.event, MemberChanged)
    ]


def run_until(subject: Membership, end: float, *, now: float = START) -> list[MachineEffect]:
    """Wake the machine whenever it wants until ``end``; return all that it did."""
    effects: list[MachineEffect] = []
    while subject.next_deadline() <= end:
        now = max(now, subject.next_deadline())
        effects += subject.wake(now=now, late_by=0.0)
    return effects


def answered(subject: Membership, effects: Sequence[MachineEffect], *, now: float) -> None:
    """Let everybody who is pinged answer at once."""
    for effect in effects:
        if isinstance(effect, Tell) and isinstance(effect.message, Ping):
            ack = Ack(sequence=effect.message.sequence, wall_ms=0, receiver_boot=1)
            subject.handle(ack, sender=effect.peer_id, now=now)


__all__ = [
    "ME", "START", "accusation", "answered", "changes", "descriptor", "evidence_in", "gossip", "identity",
    "leave", "member", "membership", "messages", "peer_id", "proved", "receivers", "run_until", "samples", "state",
    "tell", "tried",
]  # fmt: skip
