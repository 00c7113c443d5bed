"""The routing table: every contact in one bucket, exact neighbours, fresh addresses."""

import asyncio
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kademlia.node import Node
from kademlia.protocol import KademliaProtocol
from kademlia.routing import RoutingTable
from kademlia.storage import ForgetfulStorage

from node.dht.kademlia.contacts import Contact, place
from node.dht.kademlia.protocol import PairProtocol
from node.dht.kademlia.routing import PairRoutingTable
from protocol.ids import Digest

PLACES = st.binary(min_size=20, max_size=20).map(Digest)
HERE = place(Digest(b"\x80" + bytes(19)))


def contact_at(number: int, port: int = 1) -> Contact:
    return Contact(Digest(number.to_bytes(20, "big")), "127.0.0.1", port)


def contacts_of(seed: int, count: int) -> list[Contact]:
    draw = random.Random(seed)
    return [contact_at(draw.getrandbits(160)) for _ in range(count)]


def table_of(contacts: list[Contact], *, ksize: int = 4, capacity: int = 10_000) -> PairRoutingTable:
    table = PairRoutingTable(None, ksize, HERE, capacity=capacity)
    for contact in contacts:
        table.add_contact(contact)
    return table


def truly_nearest(contacts: list[Contact], target: Contact, count: int) -> list[bytes]:
    return [each.id for each in sorted(contacts, key=target.distance_to)[:count]]


def library_table(contacts: list[Contact]) -> RoutingTable:
    class NoCalls:
        async def call_ping(self, node: Node) -> None:
            """A full bucket's oldest contact is pinged; here it lives."""

    table = RoutingTable(NoCalls(), 4, HERE)
    for contact in contacts:
        table.add_contact(contact)
    return table


@settings(deadline=None)
@given(places=st.lists(PLACES, unique=True, max_size=60), target=PLACES, count=st.integers(1, 30))
def test_neighbours_are_the_truly_nearest(places: list[Digest], target: Digest, count: int) -> None:
    """Kademlia 2002, section 2.3: exactly the k nearest of all that are known, nearest first."""
    contacts = [Contact(each, "127.0.0.1", 1) for each in places if each != HERE.id]
    found = table_of(contacts).find_neighbors(place(target), count)

    assert [each.id for each in found] == truly_nearest(contacts, place(target), count)


@settings(deadline=None)
@given(places=st.lists(PLACES, max_size=80))
def test_each_contact_is_in_the_bucket_of_its_id(places: list[Digest]) -> None:
    """Invariants 1 and 2 of the table."""
    table = table_of([Contact(each, "127.0.0.1", 1) for each in places])

    ranges = [bucket.range for bucket in table.buckets]
    assert ranges[0][0] == 0 and ranges[-1][1] == 2**160 - 1
    assert all(left[1] + 1 == right[0] for left, right in pairwise(ranges))
    assert all(bucket.has_in_range(each) for bucket in table.buckets for each in bucket.get_nodes())
    assert sorted(each.id for each in table) == sorted(set(places) - {HERE.id})


def test_full_table_keeps_whom_it_knows() -> None:
    """The table is bounded; a place that becomes free is taken by the next newcomer."""
    contacts = contacts_of(1, 30)
    table = table_of(contacts[:20], capacity=20)

    assert not table.add_contact(contacts[20])
    assert {each.id for each in table} == {each.id for each in contacts[:20]}
    table.remove_contact(contacts[0])
    assert table.add_contact(contacts[20])


async def test_defect_22_neighbours_of_the_library_are_not_the_nearest() -> None:
    """The library walks buckets by index and stops at the first k: some answers miss a nearer contact."""
    contacts = contacts_of(22, 200)
    library, ours = library_table(contacts), table_of(contacts)
    targets = contacts_of(23, 100)

    known_to_library = [node for bucket in library.buckets for node in bucket.get_nodes()]
    library_answers = [[each.id for each in library.find_neighbors(target)] for target in targets]
    assert library_answers != [truly_nearest(known_to_library, target, 4) for target in targets]
    assert [[each.id for each in ours.find_neighbors(target)] for target in targets] == [
        truly_nearest(contacts, target, 4) for target in targets
    ]
    await asyncio.sleep(0)  # lets the library's pings end


async def test_defect_s2_neighbour_search_of_the_library_gives_up_early() -> None:
    """The walk ends with the right side, though buckets on the left remain."""
    contacts = contacts_of(2, 300)
    library, ours = library_table(contacts), table_of(contacts)
    targets = contacts_of(3, 100)

    assert any(len(library.find_neighbors(target, k=20)) < 20 for target in targets)
    assert all(len(ours.find_neighbors(target, k=20)) == 20 for target in targets)
    await asyncio.sleep(0)  # lets the library's pings end


@pytest.mark.parametrize("protocol_is_ours", [False, True], ids=["library", "ours"])
def test_defect_21_known_contact_stays_at_its_old_address(protocol_is_ours: bool) -> None:
    """The library adds only new contacts: one that restarted with its id on another port is never reached again."""
    protocol = PairProtocol(HERE, capacity=10) if protocol_is_ours else KademliaProtocol(HERE, ForgetfulStorage(), 20)
    first, second = contact_at(1, port=1111), contact_at(2, port=1)

    protocol.welcome_if_new(first)
    protocol.welcome_if_new(second)
    protocol.welcome_if_new(contact_at(1, port=2222))

    nodes = protocol.router.buckets[0].get_nodes()
    if protocol_is_ours:
        assert [(each.id, each.port) for each in nodes] == [(second.id, 1), (first.id, 2222)]
    else:
        assert [(each.id, each.port) for each in nodes] == [(first.id, 1111), (second.id, 1)]


def test_defect_23_local_node_is_never_a_contact() -> None:
    """The library takes itself in when it hears from its own address; then it asks itself."""
    library, ours = library_table([]), table_of([])
    library.add_contact(HERE)

    assert not ours.add_contact(HERE)
    assert len(ours) == 0
    assert library.find_neighbors(contact_at(5)) == [HERE]


def test_defect_40_upper_edge_of_a_bucket_belongs_to_it() -> None:
    """The library files the last id of a bucket's range in the next bucket."""
    library, ours = library_table([]), table_of([])
    library.split_bucket(0)
    ours.split_bucket(0)

    library_edge, edge = contact_at(library.buckets[0].range[1]), contact_at(ours.buckets[0].range[1])
    assert library.get_bucket_for(library_edge) == 1
    assert ours.get_bucket_for(edge) == 0


def test_defect_s1_contact_that_waits_for_a_place_is_not_new_again() -> None:
    """Each message from such a contact sent it every key once more, for ever.

    The library asks only whether it is among the live contacts. Ours counts those that wait, and nobody is handed
    keys because of a first message.
    """
    library, ours = library_table([]), table_of([])
    waiting = contact_at(9)
    for table in (library, ours):
        table.buckets[0].replacement_nodes[waiting.id] = waiting

    assert library.is_new_node(waiting)
    assert not ours.is_new_node(waiting)
