"""From evidence to states: the table of ``judge`` rule by rule, and what holds for any order of evidence."""

import itertools

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.limits import ACCUSATIONS_PER_MEMBER_MAX
from protocol.statements import Address, Descriptor, Evidence, signed
from tests.examples import examples
from tests.protocol.members.subject import (
    START,
    accusation,
    changes,
    descriptor,
    identity,
    leave,
    member,
    membership,
    peer_id,
    run_until,
    state,
    tell,
)
from tests.protocol.samples import NETWORK_ID

X = 9
"""The member that the evidence is about; 2, 3, 4 and 5 are others."""

TABLE: list[tuple[str, list[Evidence], str]] = [
    ("nothing is said", [], "alive"),
    ("one says silent", [accusation(2, X)], "suspect"),
    ("three say silent", [accusation(n, X) for n in (2, 3, 4)], "suspect"),
    ("one was refused", [accusation(2, X, kind="refused")], "suspect"),
    ("one was refused, one says silent", [accusation(2, X, kind="refused"), accusation(3, X)], "suspect"),
    ("two were refused", [accusation(n, X, kind="refused") for n in (2, 3)], "failed"),
    ("the same was refused twice", [accusation(2, X, kind="refused"), accusation(2, X, kind="refused")], "suspect"),
    ("silent, then refused", [accusation(2, X), *(accusation(n, X, kind="refused") for n in (2, 3))], "failed"),
    ("it left", [leave(X)], "left"),
    ("it left and is accused", [leave(X), accusation(2, X)], "left"),
    ("it failed and left", [*(accusation(n, X, kind="refused") for n in (2, 3)), leave(X)], "left"),
    ("refuted", [accusation(2, X), descriptor(X, incarnation=1)], "alive"),
    ("refuted before", [descriptor(X, incarnation=1), accusation(2, X)], "alive"),
    ("failed, refuted", [*(accusation(n, X, kind="refused") for n in (2, 3)), descriptor(X, incarnation=1)], "alive"),
    ("failed, started again", [*(accusation(n, X, kind="refused") for n in (2, 3)), descriptor(X, boot=2)], "alive"),
    ("left, started again", [leave(X), descriptor(X, boot=2)], "alive"),
    ("left in an earlier boot", [descriptor(X, boot=2), leave(X)], "alive"),
    ("accused in an unknown incarnation", [accusation(2, X, incarnation=5)], "alive"),
    ("accused by a stranger", [accusation(77, X)], "alive"),
    ("accused by itself", [accusation(X, X)], "alive"),
]


@pytest.mark.parametrize(("evidence", "expected"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_state_follows_from_the_evidence(evidence: list[Evidence], expected: str) -> None:
    """The rules in the header of ``judge``."""
    subject = membership(2, 3, 4, 5, X)

    tell(subject, *evidence, sender=5)

    assert state(subject, X) == expected
    subject.check_invariants()


def test_forged_evidence_changes_nothing() -> None:
    """Nothing is believed before its signature is (DESIGN section 5)."""
    subject = membership(2, 3, X)
    forged = [
        msgspec.structs.replace(descriptor(X, incarnation=7), signature=b"\0" * 64),
        msgspec.structs.replace(descriptor(8), signature=b"\0" * 64),
        msgspec.structs.replace(accusation(2, X), signature=b"\0" * 64),
        msgspec.structs.replace(leave(X), signature=b"\0" * 64),
    ]

    effects = tell(subject, *forged, sender=3)

    assert changes(effects) == []
    assert state(subject, X) == "alive"
    assert subject.table.find(peer_id(8)) is None


def test_word_of_a_failed_accuser_does_not_count_about_a_known_member() -> None:
    """A dead peer's late accusations must not condemn the living."""
    subject = membership(2, 3, 4, X)
    tell(subject, accusation(3, 2, kind="refused"), accusation(4, 2, kind="refused"), sender=4)

    tell(subject, accusation(2, X), sender=4)

    assert (state(subject, 2), state(subject, X)) == ("failed", "alive")


def test_unmet_newcomer_defends_itself_for_the_shortest_time_even_against_the_dead() -> None:
    """It may have died before anybody here saw it, and its accusers as well."""
    subject = membership(2, 3, 4)
    tell(subject, accusation(3, 2, kind="refused"), accusation(4, 2, kind="refused"), sender=4)
    tell(subject, descriptor(X), accusation(2, X), sender=4)
    assert state(subject, X) == "suspect"

    run_until(subject, START + 2.0)

    assert state(subject, X) == "failed"


def test_members_that_change_within_one_message_are_reported_once() -> None:
    """A newcomer that is known to be dead never flashes up as alive."""
    subject = membership(2, 3, 4)

    effects = tell(subject, descriptor(X), *(accusation(n, X, kind="refused") for n in (2, 3)), sender=4)

    assert changes(effects) == [("peer-9", "failed", None)]


def test_descriptor_too_long_to_repeat_is_refused() -> None:
    """What fits no message of ours must not enter the table."""
    who = identity(X)
    hosts = Address("a" * 255, 1)
    long = signed(msgspec.structs.replace(descriptor(X), address=hosts, api=hosts), who, NETWORK_ID)
    subject = membership(2)

    subject.learn(long, now=START)

    assert subject.table.find(peer_id(X)) is None


EVIDENCE: list[Evidence] = [
    descriptor(X, incarnation=1),
    leave(X),
    accusation(2, X),
    accusation(3, X),
    accusation(2, X, kind="refused"),
    accusation(3, X, kind="refused"),
    accusation(4, X, kind="refused", incarnation=1),
    accusation(5, X, incarnation=1),
]


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(st.sampled_from(EVIDENCE), unique=True).flatmap(
        lambda pieces: st.tuples(st.just(pieces), st.permutations(pieces))
    )
)
def test_any_order_of_the_same_evidence_ends_in_the_same_table(orders: tuple[list[Evidence], list[Evidence]]) -> None:
    """Tables agree once the evidence has spread: each piece is seen again after the last descriptor."""
    views = []
    for order in orders:
        subject = membership(2, 3, 4, 5, X)
        for piece in itertools.chain(order, order):
            tell(subject, piece, sender=5)
        subject.check_invariants()
        views.append((state(subject, X), member(subject, X).descriptor))

    assert views[0] == views[1]


@settings(max_examples=examples(50), deadline=None)
@given(st.lists(st.tuples(st.integers(2, 12), st.sampled_from(["silent", "refused"])), max_size=30))
def test_accusations_against_one_member_are_bounded(pieces: list[tuple[int, str]]) -> None:
    """A crowd of accusers adds no memory (``ACCUSATIONS_PER_MEMBER_MAX``)."""
    subject = membership(*range(2, 13), 20)

    for accuser, kind in pieces:
        tell(subject, accusation(accuser, 20, kind=kind), sender=2)  # type: ignore[arg-type]

    assert len(member(subject, 20).accusations) <= ACCUSATIONS_PER_MEMBER_MAX
    subject.check_invariants()


def test_further_word_of_silence_is_no_news() -> None:
    """Three accusers are as many as a suspicion needs; that fifty heard nothing either would only be told on."""
    subject = membership(*range(2, 13), 20)
    tell(subject, *(accusation(accuser, 20) for accuser in (10, 11, 12)), sender=2)

    tell(subject, accusation(3, 20), sender=2)

    assert set(member(subject, 20).accusations) == {peer_id(10), peer_id(11), peer_id(12)}


def test_refusal_is_heard_whoever_was_silent_before() -> None:
    """Two refused accusers are a verdict; they are never crowded out by those who heard nothing."""
    subject = membership(*range(2, 13), 20)
    tell(subject, *(accusation(accuser, 20) for accuser in (2, 3, 4)), sender=2)

    tell(subject, accusation(11, 20, kind="refused"), accusation(12, 20, kind="refused"), sender=2)

    assert state(subject, 20) == "failed"
    assert len(member(subject, 20).accusations) == ACCUSATIONS_PER_MEMBER_MAX


def test_two_descriptors_of_one_order_end_alike_everywhere() -> None:
    """Only a key used twice makes them; all tables keep the same one."""
    twin = signed(msgspec.structs.replace(descriptor(X), name="twin", signature=b""), identity(X), NETWORK_ID)
    kept: list[Descriptor] = []
    for order in ([descriptor(X), twin], [twin, descriptor(X)]):
        subject = membership(2)
        tell(subject, *order, sender=2)
        kept.append(member(subject, X).descriptor)

    assert kept[0] == kept[1]
