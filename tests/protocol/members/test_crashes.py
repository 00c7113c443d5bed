"""Refused connections: two observers, or one that nobody can second, are a verdict (DESIGN section 6)."""

import pytest

from protocol.config import LOCAL
from protocol.limits import COUNCIL_SIZE_MAX
from protocol.members.crashes import SECOND_STEP_S
from protocol.members.spreading import TOLD_NEIGHBOURS, TOLD_PREDECESSORS
from protocol.messages import Gossip, LeaderClaim
from protocol.statements import Ballot
from tests.protocol.members.subject import (
    ME,
    START,
    accusation,
    changes,
    descriptor,
    evidence_in,
    membership,
    messages,
    peer_id,
    receivers,
    run_until,
    state,
    tell,
    tried,
)


def test_first_observer_accuses_and_tells_those_who_matter_at_once() -> None:
    """The council, those before the accused in the ring and some more: everybody soon has a second accuser."""
    subject = membership(*range(2, 41))

    effects = subject.connection_refused(peer_id(9), 1, now=START)

    assert changes(effects) == [("peer-9", "suspect", "alive")]
    told = receivers(effects, Gossip)
    council = [who for who in subject.table.council if who not in (peer_id(ME), peer_id(9))]
    assert set(council) <= set(told)
    assert set(subject.table.predecessors_of(peer_id(9), TOLD_PREDECESSORS)) - {peer_id(ME)} <= set(told)
    assert len(told) == len(set(told)) <= COUNCIL_SIZE_MAX + TOLD_PREDECESSORS + TOLD_NEIGHBOURS + 1
    assert peer_id(9) not in told
    assert all(evidence_in(message) == [accusation(ME, 9, kind="refused")] for message in messages(effects))


def test_second_observer_completes_the_verdict_and_tells_the_first_only() -> None:
    """Forty observers of one death do not send forty times forty datagrams."""
    subject = membership(*range(2, 41))
    tell(subject, accusation(5, 9, kind="refused"), sender=5)

    effects = subject.connection_refused(peer_id(9), 1, now=START)

    assert changes(effects) == [("peer-9", "failed", "suspect")]
    assert receivers(effects, Gossip) == [peer_id(5)]


@pytest.mark.parametrize("is_first", [True, False])
def test_death_of_the_leader_is_told_around_the_ring(is_first: bool) -> None:
    """All hold a link to it: each tells its next neighbours, so that each hears a second observer."""
    subject = membership(*range(2, 41))
    subject.claim = LeaderClaim(Ballot(4, peer_id(9)), 40)
    if not is_first:
        tell(subject, accusation(5, 9, kind="refused"), sender=5)

    effects = subject.connection_refused(peer_id(9), 1, now=START)

    neighbours = [who for who in subject.table.successors_of(peer_id(ME), TOLD_NEIGHBOURS + 1) if who != peer_id(9)]
    assert receivers(effects, Gossip) == neighbours


def test_further_observers_of_a_verdict_are_silent() -> None:
    """A verdict needs no third word."""
    subject = membership(*range(2, 41))
    tell(subject, accusation(5, 9, kind="refused"), accusation(6, 9, kind="refused"), sender=5)

    assert subject.connection_refused(peer_id(9), 1, now=START) == []


def test_who_hears_of_a_refusal_tries_itself_when_its_turn_comes() -> None:
    """A second observer is found even when the other holders of links died as well; the nearest goes first."""
    subject = membership(*range(2, 8), 9)
    turn = START + (subject.table.steps_to(peer_id(9)) - 1) * SECOND_STEP_S

    tell(subject, accusation(5, 9, kind="refused"), sender=5)
    tell(subject, accusation(5, 9, kind="refused"), sender=6)

    assert tried(subject.wake(now=turn - SECOND_STEP_S / 2, late_by=0.0)) == []
    assert tried(subject.wake(now=turn, late_by=0.0)) == [peer_id(9)]
    assert tried(subject.wake(now=turn + SECOND_STEP_S / 2, late_by=0.0)) == [], "once"


def test_verdict_before_ones_turn_spares_the_try() -> None:
    """Two observers are enough: nobody else opens a connection to the dead."""
    subject = membership(*range(2, 8), 9)
    tell(subject, accusation(5, 9, kind="refused"), sender=5)

    tell(subject, accusation(6, 9, kind="refused"), sender=6)

    assert tried(subject.wake(now=START + 1.0, late_by=0.0)) == []


def test_lone_observer_decides_after_three_refusals() -> None:
    """With two members nobody can confirm; three refusals, 20 ms apart."""
    subject = membership(9)
    now = START
    subject.link_lost(peer_id(9), now=now)

    for _ in range(2):
        subject.connection_refused(peer_id(9), 1, now=now)
        assert state(subject, 9) == "suspect"
        now += LOCAL.refused_retry_s
        assert tried(subject.wake(now=now, late_by=0.0)) == [peer_id(9)]
    effects = subject.connection_refused(peer_id(9), 1, now=now)

    assert changes(effects) == [("peer-9", "failed", "suspect")]
    assert run_until(subject, now + 1.0, now=now) is not None
    subject.check_invariants()


def test_refusals_in_one_moment_count_once() -> None:
    """The link's own reconnection and our try are refused by the same moment's kernel."""
    subject = membership(9)

    for _ in range(5):
        subject.connection_refused(peer_id(9), 1, now=START)

    assert state(subject, 9) == "suspect"


def test_observer_among_others_does_not_decide_alone() -> None:
    """Its way may be the only one that is closed."""
    subject = membership(2, 3, 9)

    for attempt in range(10):
        subject.connection_refused(peer_id(9), 1, now=START + attempt * LOCAL.refused_retry_s)

    assert state(subject, 9) == "suspect"


def test_last_survivor_decides_about_all_who_died_together() -> None:
    """The others could confirm nothing: they are refused as well."""
    subject = membership(2, 3)

    for attempt in range(4):
        for number in (2, 3):
            subject.connection_refused(peer_id(number), 1, now=START + attempt * LOCAL.refused_retry_s)

    assert (state(subject, 2), state(subject, 3)) == ("failed", "failed")


def test_refusal_of_another_boot_says_nothing() -> None:
    """The peer was restarted meanwhile."""
    subject = membership(2, 3, 9)

    assert subject.connection_refused(peer_id(9), 7, now=START) == []
    assert subject.connection_refused(peer_id(77), 1, now=START) == []
    assert subject.connection_refused(peer_id(ME), 1, now=START) == []


def test_boot_that_answered_the_word_of_its_death_is_not_accused_so_again() -> None:
    """Only our way to its port is closed, by a firewall perhaps: no flapping."""
    subject = membership(2, 3, 9)
    subject.connection_refused(peer_id(9), 1, now=START)
    tell(subject, descriptor(9, incarnation=1), sender=9)

    assert subject.connection_refused(peer_id(9), 1, now=START + 1) == []
    assert state(subject, 9) == "alive"

    tell(subject, descriptor(9, boot=2), sender=9)
    subject.connection_refused(peer_id(9), 2, now=START + 2)
    assert state(subject, 9) == "suspect", "a new boot has a new port"


def test_member_of_an_earlier_run_may_refuse_during_the_grace() -> None:
    """All peers of a network start again one after the other: the first one back is not the whole network."""
    subject = membership(2, remembered=[descriptor(9)])

    assert subject.connection_refused(peer_id(9), 1, now=START) == []
    assert state(subject, 9) == "suspect"
