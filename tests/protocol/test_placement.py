"""The k closest peers of a place."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.ids import Digest, PeerId, distance, kademlia_id_of
from protocol.placement import Placement, merged, view_of

# Few different leading bytes, so that runs with a common prefix occur.
PEER_IDS = st.lists(
    st.tuples(st.sampled_from([0, 1, 2, 127, 128, 255]), st.binary(min_size=31, max_size=31)),
    unique=True,
    max_size=80,
).map(lambda items: sorted(PeerId(bytes([first]) + rest) for first, rest in items))
PLACES = st.tuples(st.sampled_from([0, 1, 2, 127, 128, 255]), st.binary(min_size=19, max_size=19)).map(
    lambda item: Digest(bytes([item[0]]) + item[1])
)


@given(PEER_IDS, PLACES, st.integers(1, 32))
def test_closest_equals_a_full_sort(peer_ids: list[PeerId], place: Digest, count: int) -> None:
    """The short way finds what the definition says (Kademlia 2002, section 2.3)."""
    by_definition = sorted(peer_ids, key=lambda peer_id: distance(kademlia_id_of(peer_id), place))[:count]

    assert list(Placement(peer_ids).closest(place, count)) == by_definition


@given(PEER_IDS, PLACES, st.integers(1, 8), st.integers(0, 80))
def test_merging_two_halves_gives_the_closest_of_all(
    peer_ids: list[PeerId], place: Digest, count: int, cut: int
) -> None:
    """Two peers with half the members each find the true holders together."""
    halves = [Placement(half).closest(place, count) for half in (peer_ids[:cut], peer_ids[cut:])]

    assert merged(place, halves, count) == Placement(peer_ids).closest(place, count)


def test_views_of_different_lists_differ() -> None:
    """Order and members both count, and a view is never empty, which would mean a replica."""
    first, second = PeerId(bytes(32)), PeerId(bytes(31) + b"\x01")

    assert len({view_of(()), view_of((first,)), view_of((first, second)), view_of((second, first))}) == 4
    assert all(len(view_of(holders)) == 4 for holders in ((), (first,)))
