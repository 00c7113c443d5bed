"""A peer whose machine got another address goes on: it describes itself anew, and whoever hears follows."""

from protocol.effects import MemberChanged, Report
from protocol.messages import Ack, Gossip, Ping
from protocol.statements import Address, Descriptor
from tests.protocol.members.subject import (
    ME,
    START,
    accusation,
    evidence_in,
    gossip,
    member,
    membership,
    messages,
    peer_id,
    run_until,
    state,
    tell,
)

ADDRESS = Address("192.0.2.77", 7401)
API = Address("192.0.2.77", 8401)


def moved(*others: int) -> tuple[Descriptor, Descriptor]:
    """Return how peer 1 describes itself before and after it moved."""
    subject = membership(*others)
    before = subject.descriptor
    subject.relocate(address=ADDRESS, api=API, now=START)
    return before, subject.descriptor


def test_a_peer_that_moved_describes_itself_with_a_higher_incarnation() -> None:
    """Boot and id stay: it is the same run of the same peer, elsewhere."""
    before, after = moved(2)

    assert (after.address, after.api) == (ADDRESS, API)
    assert after.boot == before.boot and after.incarnation > before.incarnation
    assert after.peer_id == before.peer_id


def test_a_peer_that_moved_tells_the_others_at_once() -> None:
    """Their answers go to its old address until they know the new one."""
    subject = membership(2, 3, 4)

    changed = subject.relocate(address=ADDRESS, api=API, now=START)
    effects = run_until(subject, START + 0.02)

    assert [effect.event for effect in changed if isinstance(effect, Report)] == [
        MemberChanged(descriptor=subject.descriptor, state="alive", previous="alive")
    ]
    told = [message for message in messages(effects) if isinstance(message, Gossip)]
    assert len(told) == 3 and all(subject.descriptor in evidence_in(message) for message in told)


def test_the_same_address_is_no_news() -> None:
    """An incarnation is spent on a change only."""
    subject = membership(2)
    own = subject.descriptor

    assert subject.relocate(address=own.address, api=own.api, now=START) == []
    assert subject.descriptor == own


def test_a_suspect_that_moved_is_alive_at_its_new_address() -> None:
    """Probes of the old address went unanswered; what was said of it is void."""
    _, after = moved(2)
    subject = membership(ME, 3, me=2)
    tell(subject, accusation(3, ME), sender=3)
    assert state(subject, ME) == "suspect"

    tell(subject, after, sender=ME)

    assert state(subject, ME) == "alive"
    assert member(subject, ME).descriptor.address == ADDRESS


def test_the_ack_of_the_ping_that_tells_of_a_move_goes_to_the_new_address() -> None:
    """The core addresses an answer with what the table says by then."""
    _, after = moved(2)
    subject = membership(ME, 3, me=2)
    ping = Ping(sequence=7, receiver_boot=1, updates=gossip(after).updates)

    effects = subject.handle(ping, sender=peer_id(ME), now=START)

    assert any(isinstance(message, Ack) for message in messages(effects, to=ME))
    assert member(subject, ME).descriptor.address == ADDRESS

