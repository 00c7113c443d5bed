"""The lease is counted from the sending of what was acknowledged (Raft 2014 thesis, section 6.4.1)."""

import math

from protocol.election.lease import ROUNDS_MAX, Lease
from tests.protocol.election.town import id_of, ids

COUNCIL = ids(range(5))


def lease() -> Lease:
    return Lease(holder=id_of(0), started_at=0.0, duration_s=0.25)


def test_votes_carry_a_leader_before_its_first_heartbeat() -> None:
    """As if they were acks of a round sent when they were asked for."""
    assert lease().until(COUNCIL) == 0.25


def test_lease_reaches_as_far_as_a_majority_accepted() -> None:
    """The leader and two more of five; the third ack only makes it safer."""
    subject = lease()
    subject.sent(1, members=COUNCIL, now=0.1)
    subject.acknowledged(id_of(1), 1)
    assert subject.until(COUNCIL) == 0.25

    subject.acknowledged(id_of(2), 1)
    assert subject.until(COUNCIL) == 0.35

    subject.sent(2, members=COUNCIL, now=0.2)
    subject.acknowledged(id_of(3), 2)
    assert subject.until(COUNCIL) == 0.35


def test_late_ack_of_an_old_round_extends_nothing() -> None:
    """A leader that was stopped finds its lease over, whatever acks wait in its socket."""
    subject = lease()
    subject.sent(1, members=COUNCIL, now=0.1)
    for sequence in range(2, ROUNDS_MAX + 2):
        subject.sent(sequence, members=COUNCIL, now=float(sequence))
    for number in (1, 2, 3, 4):
        subject.acknowledged(id_of(number), 1)

    assert subject.until(COUNCIL) == 0.25


def test_ack_of_a_round_that_was_never_sent_changes_nothing() -> None:
    """The sequence number is the sender's word only."""
    subject = lease()
    for number in (1, 2, 3, 4):
        subject.acknowledged(id_of(number), 99)

    assert subject.until(COUNCIL) == 0.25


def test_lone_peer_needs_nobody() -> None:
    """A network of one leads itself for ever."""
    assert lease().until(ids([0])) == math.inf


def test_holder_outside_the_council_needs_a_majority_of_others() -> None:
    """Four of seven that are not the leader."""
    subject, council = lease(), ids(range(1, 8))
    subject.sent(1, members=council, now=0.1)
    for number in (1, 2, 3):
        subject.acknowledged(id_of(number), 1)
    assert subject.until(council) == 0.25

    subject.acknowledged(id_of(4), 1)
    assert subject.until(council) == 0.35
