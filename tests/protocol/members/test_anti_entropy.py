"""Comparing tables: who asks whom, what is sent where they differ, and that it unites them."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codec import encode
from protocol.members import Membership
from protocol.members.anti_entropy import FIRST_PAUSE_S, PAGES_MAX
from protocol.messages import Ack, Gossip, Message, Ping, Sync
from protocol.statements import Address, signed
from tests.examples import examples
from tests.protocol.members.subject import (
    START,
    accusation,
    descriptor,
    evidence_in,
    identity,
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
from tests.protocol.samples import NETWORK_ID

EMPTY = Sync(buckets=(b"\0" * 8,) * 16, receiver_boot=1)


def asked(subject: Membership, number: int, *, now: float = START) -> Sync:
    """Let a newcomer compare tables with ``number``; return what it sends."""
    subject.sync_with(peer_id(number), members=999, now=now)
    effects = run_until(subject, now + FIRST_PAUSE_S, now=now)
    (sync,) = (message for message in messages(effects, to=number) if isinstance(message, Sync))
    return sync


def exchange(left: Membership, right: Membership, *, now: float = START, asks: int = 1) -> list[Gossip]:
    """Let peers 1 and 2 compare tables once; return the evidence that was sent."""
    machines = {1: left, 2: right}
    wire: list[tuple[int, Message]] = [(3 - asks, asked(machines[asks], 3 - asks, now=now))]
    pages = []
    while wire:
        number, message = wire.pop(0)
        pages += [message] if isinstance(message, Gossip) else []
        effects = machines[number].handle(message, sender=peer_id(3 - number), now=now + FIRST_PAUSE_S)
        wire += [(3 - number, answer) for answer in messages(effects, to=3 - number)]
    return pages


def test_tables_that_differ_are_united_in_one_round_trip() -> None:
    """Anti-entropy repairs what gossip missed."""
    left = membership(2, *range(10, 20), me=1)
    right = membership(1, *range(15, 30), me=2)

    exchange(proved(left, 2), proved(right, 1))

    assert left.table.living == right.table.living


@pytest.mark.parametrize(("left_misses", "right_misses"), [({77}, set()), (set(), {77}), ({60, 77}, {61, 78})])
def test_only_what_one_table_misses_is_sent(left_misses: set[int], right_misses: set[int]) -> None:
    """Digests tell which one or two of a bucket only one table has: a hundred others are not repeated."""
    left = proved(membership(*{2, *range(10, 110)} - left_misses, me=1), 2)
    right = proved(membership(*{1, *range(10, 110)} - right_misses, me=2), 1)

    pages = exchange(left, right)

    told = sorted(descriptor(number).name for number in left_misses | right_misses)
    assert sorted(piece.name for page in pages for piece in evidence_in(page)) == told  # type: ignore[union-attr]
    assert left.table.living == right.table.living


def test_who_died_is_told_to_whom_it_still_lives_for() -> None:
    """One table counts it, the other knows better."""
    left, right = (proved(membership(3 - me, *range(3, 60), me=me), 3 - me) for me in (1, 2))
    for accuser in (4, 5):
        tell(right, accusation(accuser, 3, kind="refused"), sender=accuser)
    tell(right, leave(6), sender=6)

    exchange(left, right)

    assert (state(left, 3), state(left, 6)) == ("failed", "left")


Changes = st.lists(st.tuples(st.integers(3, 70), st.sampled_from(["unknown", "left", "failed"])), max_size=12)


def table_with(changes: list[tuple[int, str]], *, me: int) -> Membership:
    unknown = {number for number, change in changes if change == "unknown"}
    subject = proved(membership(*(number for number in range(1, 71) if number not in {me, *unknown}), me=me), 3 - me)
    for number, change in changes:
        if number in unknown:
            continue
        if change == "left":
            tell(subject, leave(number), sender=3 - me)
        else:
            for accuser in (71, 72):
                tell(subject, descriptor(accuser), sender=3 - me)
                tell(subject, accusation(accuser, number, kind="refused"), sender=3 - me)
    return subject


@settings(max_examples=examples(60), deadline=None)
@given(Changes, Changes)
def test_any_two_tables_agree_once_each_asked_twice(left: list[tuple[int, str]], right: list[tuple[int, str]]) -> None:
    """Whoever is missing, left or failed on either side."""
    ours, theirs = table_with(left, me=1), table_with(right, me=2)

    for turn in range(4):
        exchange(ours, theirs, now=START + turn, asks=1 + turn % 2)

    assert ours.table.living == theirs.table.living
    assert ours.table.digest.buckets == theirs.table.digest.buckets


def test_newcomer_goes_on_asking_its_contact_until_it_knows_everybody() -> None:
    """Whole buckets at a time: nothing of a large table comes twice."""
    newcomer = proved(membership(2, me=1), 2)
    contact = proved(membership(1, *range(3, 600), me=2), 1)
    received, now = 0, START

    wire: list[tuple[int, Message]] = [(2, asked(newcomer, 2))]
    while wire:
        receiver, message = wire.pop(0)
        machine = newcomer if receiver == 1 else contact
        received += len(evidence_in(message)) if isinstance(message, Gossip) else 0
        for answer in messages(machine.handle(message, sender=peer_id(3 - receiver), now=now), to=3 - receiver):
            wire.append((3 - receiver, answer))
        if not wire:
            now += FIRST_PAUSE_S
            syncs = (each for each in messages(run_until(newcomer, now, now=now), to=2) if isinstance(each, Sync))
            wire += [(2, sync) for sync in syncs]

    assert newcomer.table.living == contact.table.living
    assert now - START < 0.15
    assert received < 600 * 1.1


def test_equal_tables_need_no_answer() -> None:
    """An idle network pays one datagram."""
    left, right = membership(2, 3, me=1), membership(1, 3, me=2)

    assert right.handle(asked(left, 2), sender=peer_id(1), now=START) == []


def test_newcomer_asks_its_first_contact_in_any_case() -> None:
    """Both know of each other only; those who join at the same moment are known to the contact soon."""
    subject = membership(2)

    subject.sync_with(peer_id(2), members=2, now=START)

    assert [peer_id(2)] == receivers(run_until(subject, START + FIRST_PAUSE_S), Sync)


def test_peer_that_knows_as_many_asks_no_other_contact() -> None:
    """Each of many contacts answers a newcomer; one exchange is enough."""
    subject = membership(2, 3)
    asked(subject, 2)
    planned = subject.next_deadline()

    subject.sync_with(peer_id(2), members=3, now=START + FIRST_PAUSE_S)
    assert subject.next_deadline() == planned

    subject.sync_with(peer_id(2), members=4, now=START + FIRST_PAUSE_S)
    assert subject.next_deadline() <= START + 2 * FIRST_PAUSE_S


def test_answer_to_a_stranger_table_is_bounded() -> None:
    """A large difference takes several exchanges."""
    subject = proved(membership(*range(2, 400)), 2)

    effects = subject.handle(EMPTY, sender=peer_id(2), now=START)

    assert 0.8 * PAGES_MAX < len(receivers(effects, Gossip)) <= PAGES_MAX
    for message in messages(effects):
        encode(message)  # raises when it fits no datagram


def test_table_is_shown_only_where_a_ping_was_answered() -> None:
    """A member may name anybody's address as its own: a small question is no reason to send much there."""
    subject = membership(*range(2, 400))

    answers = [answer for _ in range(2) for answer in subject.handle(EMPTY, sender=peer_id(2), now=START)]
    pings = messages(answers, to=2)
    assert [type(message) for message in pings] == [Ping, Ping] and receivers(answers, Gossip) == []
    assert sum(len(encode(ping)) for ping in pings) < 2 * len(encode(EMPTY))

    guessed = Ack(sequence=1, wall_ms=0, receiver_boot=1)
    assert receivers(subject.handle(guessed, sender=peer_id(2), now=START), Gossip) == []
    answered = Ack(sequence=pings[1].sequence, wall_ms=0, receiver_boot=1)  # type: ignore[attr-defined]
    assert len(receivers(subject.handle(answered, sender=peer_id(2), now=START + 0.01), Gossip)) > 20
    assert len(receivers(subject.handle(EMPTY, sender=peer_id(2), now=START + 0.02), Gossip)) > 20


def test_moved_member_answers_anew_before_it_is_shown_the_table() -> None:
    """At the address that it names now."""
    subject = proved(membership(*range(2, 40)), 2)
    moved = msgspec.structs.replace(descriptor(2), address=Address("192.0.2.1", 1), incarnation=1)
    tell(subject, signed(moved, identity(2), NETWORK_ID), sender=2)

    effects = subject.handle(EMPTY, sender=peer_id(2), now=START)

    assert receivers(effects, Gossip) == [] and len(receivers(effects, Ping)) == 1
