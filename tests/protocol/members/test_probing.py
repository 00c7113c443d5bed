"""Probes, helpers and suspicion, step by step through the door (SWIM 2002; Lifeguard 2017)."""

import itertools

import pytest

from protocol.config import LOCAL, PROFILES, Profile
from protocol.effects import TimeSample
from protocol.ids import PeerId
from protocol.members import Member, Membership
from protocol.members.probes import CHECKS_OPEN_MAX
from protocol.members.relays import nack_after_s
from protocol.messages import Ack, Gossip, IndirectAck, Ping, PingRequest
from tests.protocol.members.subject import (
    START,
    accusation,
    answered,
    changes,
    descriptor,
    evidence_in,
    identity,
    leave,
    membership,
    messages,
    peer_id,
    receivers,
    run_until,
    state,
    tell,
    tried,
)

OTHERS = (2, 3, 4, 5, 6)


def first_probe(subject: Membership) -> tuple[PeerId, int]:
    """Wake the subject for its next probe; return whom it asked and under which number."""
    effects = subject.wake(now=START, late_by=0.0)
    (target,) = receivers(effects, Ping)
    (ping,) = (message for message in messages(effects) if isinstance(message, Ping))
    return target, ping.sequence


def ack(sequence: int, *, wall_ms: int = 0) -> Ack:
    return Ack(sequence=sequence, wall_ms=wall_ms, receiver_boot=1)


def test_each_member_is_probed_once_in_a_round() -> None:
    """A shuffled round robin bounds the time to a first probe (SWIM 2002, section 4.3)."""
    subject = membership(*OTHERS)
    now, probed = START, []
    for _ in range(2 * len(OTHERS)):
        effects = subject.wake(now=now, late_by=0.0)
        probed += receivers(effects, Ping)
        for message in messages(effects):
            if isinstance(message, Ping):
                subject.handle(ack(message.sequence), sender=probed[-1], now=now + 0.001)
        now += LOCAL.probe_interval_s

    everybody = sorted(map(peer_id, OTHERS))
    assert sorted(probed[: len(OTHERS)]) == everybody
    assert sorted(probed[len(OTHERS) :]) == everybody
    assert probed[: len(OTHERS)] != everybody


def test_ack_ends_the_probe_and_samples_round_trip_and_clock() -> None:
    """The answered probe asks nobody else; its ack feeds network time."""
    subject = membership(*OTHERS)
    target, sequence = first_probe(subject)

    effects = subject.handle(ack(sequence, wall_ms=123_000), sender=target, now=START + 0.01)

    (sample,) = (effect for effect in effects if isinstance(effect, TimeSample))
    assert (sample.peer_id, sample.wall_ms) == (target, 123_000)
    assert sample.round_trip_s == pytest.approx(0.01)
    assert member_of(subject, target).round_trip_s == pytest.approx(0.01)
    assert not receivers(run_until(subject, START + 0.3), PingRequest)


def test_ack_of_another_member_or_a_foreign_number_counts_for_nothing() -> None:
    """An answer must come from the peer that was asked."""
    subject = membership(*OTHERS)
    target, sequence = first_probe(subject)
    other = next(who for who in map(peer_id, OTHERS) if who != target)

    assert not subject.handle(ack(sequence), sender=other, now=START + 0.01)
    assert not subject.handle(ack(sequence + 1), sender=target, now=START + 0.01)

    assert receivers(run_until(subject, START + 0.2), PingRequest)


def test_silent_member_is_asked_through_three_others_and_then_accused() -> None:
    """SWIM 2002, section 3.1: direct, indirect, suspicion."""
    subject = membership(*OTHERS)
    target, _ = first_probe(subject)

    subject.wake(now=START + 0.1, late_by=0.0)
    indirect = subject.wake(now=START + 0.15, late_by=0.0)
    helpers = receivers(indirect, PingRequest)
    assert len(set(helpers)) == LOCAL.indirect_probes and target not in helpers
    assert receivers(indirect, Ping) == [target]
    for helper in helpers:
        subject.handle(IndirectAck(sequence=1, target=target, reached=False), sender=helper, now=START + 0.31)

    effects = subject.wake(now=START + 0.5, late_by=0.0)

    assert [(after, before) for _, after, before in changes(effects)] == [("suspect", "alive")]
    assert subject.next_deadline() <= START + 0.51, "the accusation is gossiped soon"


def test_one_helper_that_reaches_it_clears_the_target() -> None:
    """Only our own way to it was lossy."""
    subject = membership(*OTHERS)
    target, sequence = first_probe(subject)
    (helper, *_) = receivers(subject.wake(now=START + 0.15, late_by=0.0), PingRequest)

    subject.handle(IndirectAck(sequence=sequence, target=target, reached=True), sender=helper, now=START + 0.2)
    subject.wake(now=START + 0.5, late_by=0.0)

    assert member_of(subject, target).state == "alive"


def test_word_of_a_member_that_was_not_asked_to_help_does_not_clear() -> None:
    """Nobody vouches unasked."""
    subject = membership(*OTHERS)
    target, sequence = first_probe(subject)
    helpers = receivers(subject.wake(now=START + 0.15, late_by=0.0), PingRequest)
    (idle,) = (who for who in map(peer_id, OTHERS) if who not in (*helpers, target))

    subject.handle(IndirectAck(sequence=sequence, target=target, reached=True), sender=idle, now=START + 0.2)
    subject.wake(now=START + 0.5, late_by=0.0)

    assert member_of(subject, target).state == "suspect"


def test_helper_pings_and_relays_the_ack() -> None:
    """SWIM 2002, section 3.1, from the helper's side."""
    subject = membership(2, 3)
    request = PingRequest(sequence=77, target=peer_id(3))
    (ping,) = messages(subject.handle(request, sender=peer_id(2), now=START), to=3)
    assert isinstance(ping, Ping)

    answer = subject.handle(ack(ping.sequence), sender=peer_id(3), now=START + 0.01)

    assert IndirectAck(sequence=77, target=peer_id(3), reached=True) in messages(answer, to=2)


def test_helper_says_that_it_lives_when_the_target_is_silent() -> None:
    """Lifeguard 2017: the nack tells a lost helper from a lost target."""
    subject = membership(2, 3)
    subject.handle(PingRequest(sequence=77, target=peer_id(3)), sender=peer_id(2), now=START)

    effects = run_until(subject, START + LOCAL.probe_timeout_s)

    assert IndirectAck(sequence=77, target=peer_id(3), reached=False) in messages(effects, to=2)


def silent_helpers(subject: Membership) -> tuple[list[PeerId], list[PeerId]]:
    """Let the first probe end without any word; return its helpers, and whom the subject asks at once then."""
    first_probe(subject)
    helpers = receivers(subject.wake(now=START + 0.15, late_by=0.0), PingRequest)
    asked = receivers(subject.wake(now=START + 0.5, late_by=0.0), Ping)
    return helpers, asked


def test_helpers_that_say_nothing_are_asked_themselves() -> None:
    """Lifeguard 2017 sends a nack to tell a lost helper from a lost target."""
    helpers, asked = silent_helpers(membership(*OTHERS))

    assert len(helpers) == LOCAL.indirect_probes and set(helpers) <= set(asked)


def test_silent_helper_that_answers_makes_the_peer_doubt_itself() -> None:
    """Its word was lost on the way here: probes slow down (Lifeguard 2017)."""
    probed = []
    for has_nacks in (True, False):
        subject = membership(*OTHERS)
        target, sequence = first_probe(subject)
        for helper in receivers(subject.wake(now=START + 0.15, late_by=0.0), PingRequest):
            if has_nacks:
                word = IndirectAck(sequence=sequence, target=target, reached=False)
                subject.handle(word, sender=helper, now=START + 0.3)
        probed.append(probes_between(subject, START + 0.5, START + 5.0))

    assert probed[0] > probed[1]


def test_helper_that_does_not_know_the_target_says_so_at_once() -> None:
    """Else it would be asked itself, answer, and make the other doubt itself."""
    subject = membership(2)

    effects = subject.handle(PingRequest(sequence=7, target=peer_id(50)), sender=peer_id(2), now=START)

    assert messages(effects, to=2) == [IndirectAck(sequence=7, target=peer_id(50), reached=False)]


@pytest.mark.parametrize("profile", PROFILES)
def test_nack_is_back_before_the_probe_ends(profile: Profile) -> None:
    """Also from far away: where it came late, each failed probe would make healthy peers doubt themselves."""
    config = PROFILES[profile]
    left_s = config.probe_interval_s - config.probe_timeout_s - nack_after_s(config)

    assert left_s >= {"local": 0.1, "lan": 0.2, "wan": 0.3}[profile]


def test_with_two_others_a_helper_is_found_though_it_is_being_asked() -> None:
    """Second best: better than none."""
    subject = membership(2, 3)
    subject.link_lost(peer_id(2), now=START)
    subject.link_lost(peer_id(3), now=START)

    requests = receivers(run_until(subject, START + 0.2), PingRequest)

    assert set(requests) == {peer_id(2), peer_id(3)}


def test_silent_helper_that_stays_silent_is_no_reason_to_doubt_oneself() -> None:
    """This peer is cut off from it: it accuses that one as well, and asks as often as ever."""
    subject = membership(*OTHERS)
    helpers, _ = silent_helpers(subject)

    run_until(subject, START + 1.0)

    assert all(member_of(subject, helper).state == "suspect" for helper in helpers)


def test_checks_of_helpers_are_bounded() -> None:
    """A lone peer does not accuse hundreds of others in one second."""
    subject = membership(*range(2, 200))
    now = START
    while now < START + 5:
        now = max(now, subject.next_deadline())
        subject.wake(now=now, late_by=0.0)
        subject.check_invariants()
    accused = sum(member.state == "suspect" for member in subject.table)

    assert 4 * CHECKS_OPEN_MAX < accused <= 10 * (CHECKS_OPEN_MAX + 1)


def test_suspect_is_asked_for_a_last_word_and_then_declared_failed() -> None:
    """A lost refutation must not be fatal: the last ping carries the accusations once more."""
    subject = membership(2, 3, 4, 5, 9)
    tell(subject, *(accusation(n, 9) for n in (2, 3, 4)), sender=2)
    ends_at = START + LOCAL.suspicion_min_s

    last = subject.wake(now=ends_at, late_by=0.0)
    assert any(
        isinstance(message, Ping) and accusation(2, 9) in evidence_in(message) for message in messages(last, to=9)
    )
    assert state(subject, 9) == "suspect"

    effects = run_until(subject, ends_at + LOCAL.probe_timeout_s * 2, now=ends_at)
    assert ("peer-9", "failed", "suspect") in changes(effects)


def test_last_word_saves_a_suspect() -> None:
    """A refutation counts up to the last moment."""
    subject = membership(2, 3, 4, 5, 9)
    tell(subject, *(accusation(n, 9) for n in (2, 3, 4)), sender=2)
    ends_at = START + LOCAL.suspicion_min_s
    subject.wake(now=ends_at, late_by=0.0)

    tell(subject, descriptor(9, incarnation=1), sender=9, now=ends_at + 0.1)
    assert state(subject, 9) == "alive"
    effects = subject.wake(now=ends_at + 0.3, late_by=0.0)

    assert ("peer-9", "failed", "suspect") not in changes(effects)


def test_stalled_process_neither_accuses_nor_condemns() -> None:
    """Open probes and suspicions that ran while this process did not prove nothing."""
    subject = membership(2, 3, 4, 5, 9)
    tell(subject, *(accusation(n, 9) for n in (2, 3, 4)), sender=2)
    target, _ = first_probe(subject)
    subject.wake(now=START + 0.15, late_by=0.0)
    late = START + 2.0

    effects = subject.wake(now=late, late_by=1.5)

    assert changes(effects) == []
    assert member_of(subject, target).state in ("alive", "suspect")
    again = run_until(subject, late + LOCAL.suspicion_min_s - 0.01, now=late)
    assert ("peer-9", "failed", "suspect") not in changes(again), "the suspect has a full time again"


def test_small_lag_is_no_stall() -> None:
    """Loaded machines are late by milliseconds all the time; verdicts must come all the same."""
    subject = membership(2, 3, 4, 5, 9)
    tell(subject, *(accusation(n, 9) for n in (2, 3, 4)), sender=2)
    now = START
    while state(subject, 9) != "failed" and now < START + 5:
        now = max(now, subject.next_deadline() + 0.05)
        subject.wake(now=now, late_by=0.05)

    assert now < START + 3.0, "a stall would have started the suspicion anew each time"


def test_fresh_suspect_is_probed_by_those_who_hear_of_it() -> None:
    """In a small network all others look at once: cleared or confirmed in one probe, not in a round."""
    subject = membership(2, 3, 4, 9)

    effects = tell(subject, accusation(2, 9), sender=2)

    assert [type(message) for message in messages(effects, to=9)] == [Ping]


def test_urgent_news_is_gossiped_soon_and_then_once_in_an_interval() -> None:
    """Word of a death spreads in milliseconds per hop; the datagrams are bounded."""
    subject = membership(*OTHERS, 9)
    run_until(subject, START - 1)
    tell(subject, leave(9), sender=2)

    rounds = []
    now = START
    while now < START + 0.45:
        now = subject.next_deadline()
        told = receivers(subject.wake(now=now, late_by=0.0), Gossip)
        if told:
            rounds.append((round(now - START, 3), len(told)))

    assert rounds[0][0] <= 0.011
    assert all(count <= LOCAL.gossip_fanout for _, count in rounds)
    assert all(
        later - earlier >= LOCAL.gossip_interval_s - 1e-6 for (earlier, _), (later, _) in itertools.pairwise(rounds)
    )


def test_link_loss_starts_a_ping_and_a_connection_at_once() -> None:
    """Crash and silence are different (DESIGN section 6)."""
    subject = membership(*OTHERS)

    effects = subject.link_lost(peer_id(3), now=START)

    assert receivers(effects, Ping) == [peer_id(3)] and tried(effects) == [peer_id(3)]
    assert subject.link_lost(identity(44).peer_id, now=START) == []


def member_of(subject: Membership, who: PeerId) -> Member:
    found = subject.table.find(who)
    assert found is not None
    return found


def probes_between(subject: Membership, begin: float, end: float) -> int:
    """Return how often the subject pings from ``begin`` to ``end``, while everybody answers."""
    now, count = begin, 0
    while now <= end:
        effects = subject.wake(now=now, late_by=0.0)
        count += len(receivers(effects, Ping))
        answered(subject, effects, now=now)
        now = max(now, subject.next_deadline())
    return count
