"""The member table: order, rings, and what it says changed."""

from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.ids import short_id_of
from protocol.members import MemberTable
from tests.protocol.members.subject import descriptor, peer_id


def table(*others: int, me: int = 1) -> MemberTable:
    subject = MemberTable(descriptor(me), now=1.0)
    for other in others:
        subject.insert(descriptor(other), "alive", now=1.0)
    return subject


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["insert", "remove", "fail", "suspect"]), st.integers(2, 9)), max_size=40))
def test_invariants_hold_after_any_changes(steps: list[tuple[str, int]]) -> None:
    """Ids are sorted and complete, short ids resolve, ``living`` follows the states."""
    subject = table()
    for step, number in steps:
        member = subject.find(peer_id(number))
        if step == "insert" and member is None:
            subject.insert(descriptor(number), "alive", now=1.0)
        elif step == "remove" and member is not None:
            subject.remove(member)
        elif step == "fail" and member is not None:
            subject.move(member, "failed", now=2.0)
        elif step == "suspect" and member is not None:
            subject.move(member, "suspect", now=2.0)
        subject.check_invariants()
        assert subject.living == tuple(member.peer_id for member in subject if member.is_living)
    assert all(subject.by_short_id(short_id_of(member.peer_id)) is member for member in subject)


def test_the_living_are_the_same_object_until_one_comes_or_goes() -> None:
    """What is computed from the living outlasts suspicions, of which there are many."""
    subject = table(2, 3)
    two = subject.find(peer_id(2))
    assert two is not None
    living = subject.living

    subject.move(two, "suspect", now=2.0)
    assert subject.living is living
    subject.move(two, "alive", now=3.0)
    assert subject.living is living
    subject.move(two, "failed", now=4.0)
    assert subject.living is not living


def test_ring_neighbours_are_the_nearest_living_ids() -> None:
    """Each peer holds links to its next two; so its previous two hold links to it."""
    numbers = sorted(range(1, 8), key=peer_id)
    subject = table(*(number for number in numbers if number != 1))
    ring = list(map(peer_id, numbers))

    for place, who in enumerate(ring):
        assert subject.successors_of(who, 2) == (ring[(place + 1) % 7], ring[(place + 2) % 7])
        assert subject.predecessors_of(who, 2) == (ring[place - 1], ring[place - 2])
    assert len(subject.successors_of(ring[0], 20)) == 6


def test_council_are_the_lowest_living_ids() -> None:
    """At most seven (DESIGN section 6)."""
    subject = table(*range(2, 12))
    lowest = subject.find(min(peer_id(number) for number in range(2, 12)))
    assert lowest is not None

    subject.move(lowest, "failed", now=2.0)

    everybody = sorted(peer_id(number) for number in range(1, 12))
    everybody.remove(lowest.peer_id)
    assert subject.council == tuple(everybody[:7])


def test_changes_are_told_once_with_the_first_previous_state() -> None:
    """There and back again within one call is no change."""
    subject = table(2, 3)
    subject.take_changes()
    two, three = subject.find(peer_id(2)), subject.find(peer_id(3))
    assert two is not None and three is not None
    subject.move(two, "suspect", now=2.0)
    subject.move(two, "failed", now=2.0)
    subject.move(three, "suspect", now=2.0)
    subject.move(three, "alive", now=2.0)

    told = subject.take_changes()

    assert [(change.descriptor.name, change.state, change.previous) for change in told] == [
        ("peer-2", "failed", "alive")
    ]
    assert subject.take_changes() == []
