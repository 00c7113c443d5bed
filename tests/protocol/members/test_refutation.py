"""A living peer refutes what is said against it, with a signed higher incarnation (SWIM 2002, section 4.2)."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.effects import Alarm, Report
from protocol.messages import Ack, Gossip, Ping
from protocol.statements import Evidence
from tests.examples import examples
from tests.protocol.members.subject import (
    ME,
    START,
    accusation,
    descriptor,
    evidence_in,
    gossip,
    leave,
    membership,
    messages,
    peer_id,
    run_until,
    tell,
)


def test_accused_peer_answers_its_messenger_with_a_higher_incarnation() -> None:
    """Whoever brings an accusation carries the refutation away."""
    subject = membership(2, 3)

    effects = tell(subject, accusation(3, ME), sender=2)

    assert [evidence_in(message) for message in messages(effects, to=2)] == [[descriptor(ME, incarnation=1)]]
    assert subject.descriptor.incarnation == 1


def test_refutation_rides_on_the_ack_of_the_ping_that_accused() -> None:
    """Lifeguard 2017, "Buddy System": one round trip from accusation to refutation."""
    subject = membership(2, 3)
    ping = Ping(sequence=7, receiver_boot=1, updates=gossip(accusation(3, ME)).updates)

    (ack,) = messages(subject.handle(ping, sender=peer_id(2), now=START), to=2)

    assert isinstance(ack, Ack)
    assert evidence_in(ack)[0] == descriptor(ME, incarnation=1)


def test_refutation_is_gossiped() -> None:
    """Everybody who holds the accusation must hear."""
    subject = membership(2, 3, 4)
    tell(subject, accusation(3, ME), sender=2)

    effects = run_until(subject, START + 0.02)

    told = [message for message in messages(effects) if isinstance(message, Gossip)]
    assert any(descriptor(ME, incarnation=1) in evidence_in(message) for message in told)


def test_each_incarnation_is_refuted_once() -> None:
    """Three accusers of one incarnation cost one new incarnation; the messengers are told it."""
    subject = membership(2, 3, 4)

    effects = tell(subject, accusation(2, ME), accusation(3, ME), accusation(4, ME), sender=2)

    assert subject.descriptor.incarnation == 1
    assert len([message for message in messages(effects, to=2) if isinstance(message, Gossip)]) == 1


def test_own_goodbye_of_an_older_incarnation_is_answered_but_needs_no_new_one() -> None:
    """A later descriptor stands above it."""
    subject = membership(2, 3)
    tell(subject, accusation(3, ME), sender=2)

    effects = tell(subject, leave(ME), sender=2)

    assert subject.descriptor.incarnation == 1
    assert evidence_in(messages(effects, to=2)[0]) == [descriptor(ME, incarnation=1)]


def test_own_goodbye_of_this_incarnation_is_refuted() -> None:
    """This peer did not leave."""
    subject = membership(2)

    tell(subject, leave(ME, incarnation=4), sender=2)

    assert subject.descriptor.incarnation == 5


def test_own_descriptor_with_a_higher_incarnation_is_topped() -> None:
    """An earlier life under this boot may have said more than we remember."""
    subject = membership(2)

    tell(subject, descriptor(ME, incarnation=8), sender=2)

    assert subject.descriptor.incarnation == 9


def test_descriptor_of_an_earlier_boot_is_corrected() -> None:
    """Boots are ordered first, so nothing is to be refuted: the sender only is behind."""
    subject = membership(2, boot=3)
    behind = msgspec.structs.replace(gossip(descriptor(ME, boot=2, incarnation=8)), receiver_boot=3)

    effects = subject.handle(behind, sender=peer_id(2), now=START)

    assert subject.descriptor.incarnation == 0
    assert evidence_in(messages(effects, to=2)[0]) == [descriptor(ME, boot=3)]


def test_descriptor_of_a_later_boot_alarms_once() -> None:
    """Two processes under one key: a person has to stop one."""
    subject = membership(2)

    first = tell(subject, descriptor(ME, boot=2), sender=2)
    second = tell(subject, descriptor(ME, boot=2), sender=2)

    assert [type(effect.event) for effect in first if isinstance(effect, Report)] == [Alarm]
    assert second == []


def test_invented_incarnation_cannot_drive_the_own_one_up() -> None:
    """A hostile member signs accusations of incarnations that nobody has seen."""
    subject = membership(2, 3)

    tell(subject, accusation(3, ME, incarnation=2**62), sender=3)

    assert subject.descriptor.incarnation == 0


def test_forged_accusation_is_not_refuted() -> None:
    """Only an accuser's own signature accuses."""
    subject = membership(2, 3)

    tell(subject, msgspec.structs.replace(accusation(3, ME), signature=b"\0" * 64), sender=2)

    assert subject.descriptor.incarnation == 0


def test_failed_member_that_talks_to_us_is_shown_why() -> None:
    """It must learn that it was declared failed, or islands never merge."""
    subject = membership(2, 3, 9)
    charges = [accusation(2, 9, kind="refused"), accusation(3, 9, kind="refused")]
    tell(subject, *charges, sender=2)

    (ack,) = messages(subject.handle(Ping(sequence=1, receiver_boot=1), sender=peer_id(9), now=START), to=9)
    assert evidence_in(ack)[:2] == charges

    tell(subject, descriptor(9, incarnation=1), sender=9)
    assert subject.table.find(peer_id(9)).state == "alive"  # type: ignore[union-attr]


def test_failed_member_that_joins_again_in_the_same_boot_is_shown_why() -> None:
    """Two islands may meet through a common seed."""
    subject = membership(2, 3, 9)
    charges = [accusation(2, 9, kind="refused"), accusation(3, 9, kind="refused")]
    tell(subject, *charges, sender=2)

    effects = subject.learn(descriptor(9), now=START)

    assert [evidence_in(message) for message in messages(effects, to=9)] == [charges]


def test_ping_for_an_earlier_boot_is_answered_with_the_own_descriptor() -> None:
    """The sender would otherwise go on with the dead boot."""
    subject = membership(2, boot=3)

    (ack,) = messages(subject.handle(Ping(sequence=1, receiver_boot=2), sender=peer_id(2), now=START))

    assert evidence_in(ack)[0] == descriptor(ME, boot=3)


ACCUSATIONS: list[Evidence] = [
    accusation(accuser, ME, kind=kind, incarnation=incarnation)
    for accuser in (2, 3)
    for kind in ("silent", "refused")
    for incarnation in (0, 1, 2)
]


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.sampled_from(ACCUSATIONS), min_size=1, max_size=12))
def test_accused_living_peer_always_refutes(charges: list[Evidence]) -> None:
    """Whatever is said in whatever order, the own incarnation ends above all that were possible."""
    subject = membership(2, 3)

    for charge in charges:
        before = subject.descriptor.incarnation
        tell(subject, charge, sender=2)
        assert subject.descriptor.incarnation == (before + 1 if charge.incarnation == before else before)  # type: ignore[union-attr]
    subject.check_invariants()
