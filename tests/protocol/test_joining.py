"""Contacts are asked until each belongs to a living member; whom that reaches stays bounded."""

import random

import pytest

from protocol.config import LOCAL
from protocol.effects import MachineEffect, TellAddress
from protocol.ids import ANY_RECEIVER
from protocol.joining import Joining
from protocol.messages import JoinReply, JoinRequest
from protocol.statements import Address
from tests.protocol.samples import descriptor

OWN = descriptor(1)
START = 100.0


def joining() -> Joining:
    return Joining(LOCAL, random.Random(1))


def asked(effects: list[MachineEffect]) -> list[Address]:
    for effect in effects:
        assert isinstance(effect, TellAddress) and isinstance(effect.message, JoinRequest)
        assert effect.receiver == ANY_RECEIVER and effect.message.descriptor == OWN
    return [effect.address for effect in effects if isinstance(effect, TellAddress)]


def wake(subject: Joining, now: float, *members: Address) -> list[Address]:
    effects = asked(subject.wake(own=OWN, members=frozenset(members), now=now))
    subject.check_invariants()
    return effects


def contacts(count: int) -> tuple[Address, ...]:
    return tuple(Address("127.0.0.1", 10_000 + number) for number in range(count))


def test_contacts_are_asked_at_once() -> None:
    """Seeds, zeroconf and invites all at the same time (DESIGN section 6, joining)."""
    subject = joining()
    subject.found(contacts(3), own=OWN, now=START)

    assert subject.next_deadline() == START
    assert wake(subject, START) == list(contacts(3))


def test_own_addresses_are_no_contacts() -> None:
    """A peer does not ask itself."""
    subject = joining()
    subject.found((OWN.address, OWN.api), own=OWN, now=START)

    assert subject.next_deadline() == float("inf")


def test_silent_contact_is_asked_again_ever_less_often() -> None:
    """It may start later; islands meet through a common seed."""
    subject = joining()
    subject.found(contacts(1), own=OWN, now=START)
    pauses, now = [], START
    for _ in range(10):
        assert wake(subject, now) == list(contacts(1))
        pauses.append(subject.next_deadline() - now)
        now = subject.next_deadline()

    assert pauses[:3] == pytest.approx([LOCAL.join_retry_s, 2 * LOCAL.join_retry_s, 4 * LOCAL.join_retry_s])
    assert pauses[-1] == pytest.approx(LOCAL.join_retry_max_s)


def test_contact_that_is_a_living_member_is_left_in_peace() -> None:
    """It is looked at again, in case that it dies."""
    subject = joining()
    subject.found(contacts(1), own=OWN, now=START)

    assert wake(subject, START, *contacts(1)) == []
    assert subject.next_deadline() == START + LOCAL.join_retry_max_s
    assert wake(subject, subject.next_deadline()) == list(contacts(1))


def test_many_contacts_are_asked_in_bursts() -> None:
    """A long list of seeds does not fill the socket at once."""
    subject = joining()
    subject.found(contacts(100), own=OWN, now=START)
    now, reached = START, []
    while len(reached) < 100:
        burst = wake(subject, now)
        assert 0 < len(burst) <= 32
        reached += burst
        now = subject.next_deadline()

    assert len(set(reached)) == 100
    assert now < START + 0.2


def test_contacts_and_nonces_are_bounded() -> None:
    """Anybody on the local network can announce addresses."""
    subject = joining()
    subject.found(contacts(1000), own=OWN, now=START)
    for _ in range(5000):
        subject.ask(contacts(1)[0], own=OWN, now=START)

    subject.check_invariants()


def test_a_flood_of_hints_keeps_no_later_contact_out_and_drops_no_configured_one() -> None:
    """Whoever is on the local network may announce thousands of false services; seeds and newcomers are asked still."""
    subject = joining()
    seed, newcomer = Address("192.0.2.1", 7400), Address("192.0.2.2", 7400)
    subject.found((seed,), own=OWN, now=START)
    subject.found(contacts(1000), own=OWN, now=START, are_hints=True)
    subject.found((seed,), own=OWN, now=START, are_hints=True)

    subject.found((newcomer,), own=OWN, now=START, are_hints=True)

    subject.check_invariants()
    reached, now = [], START
    while now < START + 0.5:
        reached += wake(subject, now)
        now = subject.next_deadline()
    assert seed in reached and newcomer in reached


def test_configured_contacts_make_no_room() -> None:
    """What a person wrote stays; a hint beyond the limit is forgotten."""
    subject = joining()
    subject.found(contacts(256), own=OWN, now=START)

    subject.found((Address("192.0.2.2", 7400),), own=OWN, now=START, are_hints=True)

    reached, now = [], START
    while now < START + 0.5:
        reached += wake(subject, now)
        now = subject.next_deadline()
    assert set(reached) == set(contacts(256))


def test_reply_is_believed_once_and_only_when_asked_for() -> None:
    """The nonce binds a reply to a request."""
    subject = joining()
    effect = subject.ask(contacts(1)[0], own=OWN, now=START)
    assert isinstance(effect, TellAddress) and isinstance(effect.message, JoinRequest)
    reply = JoinReply(descriptor=descriptor(2), nonce=effect.message.nonce, network_time_ms=1, members=1)
    other = JoinReply(descriptor=descriptor(2), nonce=effect.message.nonce ^ 1, network_time_ms=1, members=1)

    assert not subject.is_answer(other)
    assert subject.is_answer(reply)
    assert not subject.is_answer(reply)
