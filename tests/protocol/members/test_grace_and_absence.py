"""Members that are not here: remembered from an earlier run, failed, left; and this peer's own goodbye."""

from dataclasses import replace

from protocol.config import LOCAL
from protocol.ids import PeerId
from protocol.members.absent import REMEMBERED_AT_ONCE, RETURNS_AT_ONCE
from protocol.messages import Gossip, Ping, Sync
from protocol.statements import Leave
from tests.protocol.members.subject import (
    ME,
    START,
    accusation,
    changes,
    descriptor,
    evidence_in,
    gossip,
    leave,
    membership,
    messages,
    peer_id,
    proved,
    receivers,
    run_until,
    state,
    tell,
)


def test_remembered_members_are_suspects_until_vouched_for() -> None:
    """They count in the council and in k (DESIGN section 6, joining)."""
    subject = membership(remembered=[descriptor(2), descriptor(3), descriptor(4)])
    assert subject.electorate.living == tuple(sorted(map(peer_id, (ME, 2, 3, 4))))
    assert set(subject.electorate.suspects) == set(map(peer_id, (2, 3, 4)))

    subject.learn(descriptor(2), now=START)
    tell(subject, descriptor(3, boot=2), sender=2)

    assert [state(subject, number) for number in (2, 3, 4)] == ["alive", "alive", "suspect"]


def test_remembered_members_are_asked_a_few_at_a_time() -> None:
    """How a peer without any seed finds its network; the first answer tells of the others."""
    subject = membership(remembered=[descriptor(number) for number in range(2, 12)])
    asked: list[PeerId] = []
    now = START
    while now < START + 3 * LOCAL.gossip_interval_s:
        batch = receivers(subject.wake(now=now, late_by=0.0), Ping)
        assert len(batch) <= REMEMBERED_AT_ONCE
        asked += batch
        now = subject.next_deadline()

    assert sorted(asked) == sorted(map(peer_id, range(2, 12)))


def test_remembered_members_that_nobody_vouched_for_fail_at_the_end_of_the_grace() -> None:
    """Three seconds are enough to come back."""
    subject = membership(2, remembered=[descriptor(3)])

    effects = subject.end_grace(now=START)

    assert ("peer-3", "failed", "suspect") in changes(effects)
    assert state(subject, 2) == "alive"
    subject.check_invariants()


def test_a_remembered_member_that_said_goodbye_is_not_given_up_again() -> None:
    """Its leave came before anybody vouched for it (swizzle, 20 peers, seed 5): it has left, and stays so."""
    subject = membership(2, remembered=[descriptor(3)])
    subject.handle(gossip(leave(3)), sender=peer_id(2), now=START)

    assert changes(subject.end_grace(now=START)) == []
    assert state(subject, 3) == "left"
    subject.check_invariants()


def test_remembered_members_do_not_look_like_a_complete_table() -> None:
    """Equal digests would hide that nobody vouched for them yet."""
    subject = membership(2, remembered=[descriptor(number) for number in range(3, 9)])
    informed = proved(membership(1, *range(3, 9), me=2), ME)

    subject.sync_with(peer_id(2), members=8, now=START)
    (sync,) = (message for message in messages(run_until(subject, START + 0.03)) if isinstance(message, Sync))
    for message in messages(informed.handle(sync, sender=peer_id(ME), now=START), to=ME):
        subject.handle(message, sender=peer_id(2), now=START)

    assert [state(subject, number) for number in range(2, 9)] == ["alive"] * 7


def failed(number: int) -> Gossip:
    return gossip(accusation(2, number, kind="refused"), accusation(3, number, kind="refused"))


def test_failed_member_is_pinged_now_and_then_with_the_accusations() -> None:
    """How islands merge: one that lives refutes."""
    subject = membership(2, 3, 9)
    subject.handle(failed(9), sender=peer_id(2), now=START)

    effects = run_until(subject, START + LOCAL.dead_retry_s)

    (ping,) = (message for message in messages(effects, to=9) if isinstance(message, Ping))
    assert accusation(2, 9, kind="refused") in evidence_in(ping)


def test_one_return_makes_the_peer_ask_all_failed_members() -> None:
    """A cut that heals seldom frees one alone."""
    gone = range(10, 10 + RETURNS_AT_ONCE)
    subject = membership(2, 3, 9, *gone)
    for number in (9, *gone):
        subject.handle(failed(number), sender=peer_id(2), now=START)

    tell(subject, descriptor(9, incarnation=1), sender=2, now=START + 1)
    asked = receivers(run_until(subject, START + 1.05, now=START + 1), Ping)

    assert set(map(peer_id, gone)) <= set(asked)


def test_member_that_left_is_not_pinged() -> None:
    """It said goodbye; it comes back by itself, in a new boot."""
    subject = membership(2, 9)
    tell(subject, leave(9), sender=2)

    assert not messages(run_until(subject, START + 3 * LOCAL.dead_retry_s), to=9)


def test_dead_member_is_forgotten_after_its_time() -> None:
    """Memory is for islands, not for ever."""
    config = replace(LOCAL, dead_kept_s=10.0)
    subject = membership(2, 3, 9, config=config)
    subject.handle(failed(9), sender=peer_id(2), now=START)

    run_until(subject, START + 10 + config.dead_retry_s)

    assert subject.table.find(peer_id(9)) is None
    subject.check_invariants()


def test_goodbye_reaches_everybody_and_then_nothing_is_said() -> None:
    """Who ends cannot gossip any more."""
    subject = membership(2, 3, 4, 5, 6, 7)

    effects = subject.leave(now=START)

    assert sorted(receivers(effects, Gossip)) == sorted(map(peer_id, range(2, 8)))
    assert all(isinstance(evidence_in(message)[0], Leave) for message in messages(effects))
    assert subject.leave(now=START) == []
    assert subject.next_deadline() == float("inf")
    assert tell(subject, accusation(2, ME), sender=2) == []
