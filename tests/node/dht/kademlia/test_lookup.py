"""The lookup: a machine that always ends, and the crawl that runs it against slow, silent and odd contacts."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kademlia.crawling import NodeSpiderCrawl
from kademlia.node import Node

from node.dht.kademlia.contacts import Contact, place
from node.dht.kademlia.crawl import Answer, crawl
from node.dht.kademlia.lookup import ASKED_MAX, Lookup
from protocol.ids import Digest
from tests.node.dht.virtual_time import in_virtual_time
from tests.waiting import until

TARGET = Digest(bytes(20))


def contact_at(number: int) -> Contact:
    return Contact(Digest(number.to_bytes(20, "big")), "127.0.0.1", 1)


def crowd(*numbers: int) -> list[Contact]:
    return [contact_at(number) for number in numbers]


def numbers_of(contacts: list[Contact]) -> list[int]:
    return [each.long_id for each in contacts]


def test_nearest_are_asked_first_and_at_most_alpha_at_once() -> None:
    """Invariant 2; the distance to the target decides, not the order of the seeds."""
    lookup = Lookup(TARGET, crowd(9, 2, 7, 5), count=4, alpha=3)

    asked = [lookup.next_to_ask() for _ in range(4)]

    assert [each.long_id if each else None for each in asked] == [2, 5, 7, None]


def test_answer_frees_a_place_for_a_nearer_contact() -> None:
    """There are no rounds: one answer is enough to go on."""
    lookup = Lookup(TARGET, crowd(5, 6, 7), count=3, alpha=3)
    five, _, _ = (lookup.next_to_ask() for _ in range(3))
    assert five is not None

    lookup.answered(five, crowd(1, 8))
    nearer = lookup.next_to_ask()

    assert nearer is not None and nearer.long_id == 1


def test_slow_contact_may_still_answer() -> None:
    """A place in the window is lost with patience, a place in the result only without an answer."""
    lookup = Lookup(TARGET, crowd(1, 2), count=2, alpha=1)
    first = lookup.next_to_ask()
    assert first is not None
    lookup.slow(first)
    second = lookup.next_to_ask()
    assert second is not None and second.long_id == 2
    lookup.answered(first, ())
    lookup.answered(second, ())

    assert lookup.is_finished
    assert numbers_of(lookup.result()) == [1, 2]


def test_lookup_waits_for_slow_contacts_while_nobody_answered() -> None:
    """A slow answer is better than none."""
    lookup = Lookup(TARGET, crowd(1), count=2)
    only = lookup.next_to_ask()
    assert only is not None
    lookup.slow(only)
    assert not lookup.is_finished

    lookup.failed(only)

    assert lookup.is_finished
    assert lookup.result() == []


@settings(deadline=None)
@given(
    graph=st.dictionaries(st.integers(0, 40), st.lists(st.integers(0, 40), max_size=6), max_size=41),
    seeds=st.lists(st.integers(0, 40), max_size=5),
    fates=st.randoms(use_true_random=False),
    count=st.integers(1, 8),
)
def test_every_lookup_ends_with_contacts_that_answered(
    graph: dict[int, list[int]], seeds: list[int], fates: random.Random, count: int
) -> None:
    """Whoever answers, fails or is slow, in any order: it ends, and each contact is asked once."""
    lookup = Lookup(TARGET, [contact_at(number) for number in seeds], count=count)
    in_flight: list[Contact] = []
    asked: list[int] = []
    answered: set[int] = set()
    while not lookup.is_finished:
        while (contact := lookup.next_to_ask()) is not None:
            in_flight.append(contact)
            asked.append(contact.long_id)
        assert in_flight, "an unfinished lookup waits for somebody"
        contact = fates.choice(in_flight)
        fate = fates.choice(["answer", "fail", "slow"])
        if fate == "slow":
            lookup.slow(contact)
            fate = fates.choice(["answer", "fail", "later"])
        if fate == "answer":
            answered.add(contact.long_id)
            lookup.answered(contact, [contact_at(number) for number in graph.get(contact.long_id, [])])
        elif fate == "fail":
            lookup.failed(contact)
        if fate != "later":
            in_flight.remove(contact)

    assert len(asked) == len(set(asked))
    result = numbers_of(lookup.result())
    assert result == sorted(answered)[:count]


@in_virtual_time
async def test_lookup_of_a_liar_who_knows_ever_nearer_contacts_ends() -> None:
    """Invariant 1: the number of questions is bounded, whatever the answers say."""
    asked: list[int] = []

    async def ask(contact: Contact) -> Answer[Contact]:
        asked.append(contact.long_id)
        return Answer(crowd(contact.long_id - 1, contact.long_id - 2))

    lookup = Lookup(TARGET, crowd(10_000), count=8)
    await crawl(lookup, ask, patience_s=lambda contact: 1.0, timeout_s=10.0)

    assert lookup.is_finished
    assert len(asked) == ASKED_MAX


@in_virtual_time
async def test_value_ends_the_lookup() -> None:
    """The first value found is returned; whoever is still asked is left alone."""
    release = asyncio.Event()

    async def ask(contact: Contact) -> Answer[Contact]:
        if contact.long_id == 1:
            await release.wait()
        return Answer(value=b"found")

    lookup = Lookup(TARGET, crowd(1, 2), count=2)
    value = await crawl(lookup, ask, patience_s=lambda contact: 5.0, timeout_s=5.0)

    assert value == b"found"
    assert len(asyncio.all_tasks()) == 1


@in_virtual_time
async def test_contact_that_raises_fails_alone() -> None:
    """An unexpected error with one contact is logged and does not end the lookup."""

    async def ask(contact: Contact) -> Answer[Contact]:
        if contact.long_id == 1:
            raise ValueError("odd")
        return Answer()

    lookup = Lookup(TARGET, crowd(1, 2), count=2)
    await crawl(lookup, ask, patience_s=lambda contact: 5.0, timeout_s=5.0)

    assert numbers_of(lookup.result()) == [2]


class OneSilent:
    """The library's protocol, as far as a crawl uses it: contact 1 is silent until released, all others answer."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.released = asyncio.Event()

    async def call_find_node(self, contact: Node, target: Node) -> tuple[bool, list[tuple[bytes, str, int]] | None]:
        self.asked.append(contact.long_id)
        if contact.long_id == 1:
            await self.released.wait()
            return (False, None)
        known = [contact_at(1), *(contact_at(number) for number in range(2, 9))]
        return (True, [(each.id, each.ip, each.port) for each in known])


@in_virtual_time
async def test_defect_17_one_silent_contact_holds_up_the_lookup() -> None:
    """The library waits for the slowest of each round, up to 5 s; ours goes on after its patience."""
    wire = OneSilent()
    seeds = crowd(1, 2, 3)
    theirs = asyncio.create_task(NodeSpiderCrawl(wire, place(TARGET), list(seeds), 8, 3).find())
    await until(lambda: len(wire.asked) == 3)

    async def ask(contact: Contact) -> Answer[Contact] | None:
        answered, found = await wire.call_find_node(contact, place(TARGET))
        return Answer([Contact(Digest(node_id), ip, port) for node_id, ip, port in found or []]) if answered else None

    lookup = Lookup(TARGET, seeds, count=7)
    await crawl(lookup, ask, patience_s=lambda contact: 0.02, timeout_s=5.0)

    assert numbers_of(lookup.result()) == [2, 3, 4, 5, 6, 7, 8]
    assert not theirs.done(), "the library still waits in its first round"
    wire.released.set()
    await theirs


@in_virtual_time
async def test_defect_18_failed_contact_comes_back_through_other_answers() -> None:
    """The library drops a failed contact and takes it in again when another names it: 6 of 20 results were dead."""
    wire = OneSilent()
    wire.released.set()
    theirs = await NodeSpiderCrawl(wire, place(TARGET), crowd(1, 2, 3), 8, 3).find()

    async def ask(contact: Contact) -> Answer[Contact] | None:
        answered, found = await wire.call_find_node(contact, place(TARGET))
        return Answer([Contact(Digest(node_id), ip, port) for node_id, ip, port in found or []]) if answered else None

    lookup = Lookup(TARGET, crowd(1, 2, 3), count=8)
    await crawl(lookup, ask, patience_s=lambda contact: 5.0, timeout_s=5.0)

    assert 1 in [each.long_id for each in theirs]
    assert numbers_of(lookup.result()) == [2, 3, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("timeout_s", [0.0, 0.02])
@in_virtual_time
async def test_lookup_ends_with_its_time(timeout_s: float) -> None:
    """Nobody answers, nobody fails: the caller gets what there is when the time is over."""

    async def ask(contact: Contact) -> Answer[Contact]:
        await asyncio.Event().wait()
        return Answer()

    lookup = Lookup(TARGET, crowd(1, 2, 3, 4), count=4)
    await crawl(lookup, ask, patience_s=lambda contact: 0.005, timeout_s=timeout_s)

    assert lookup.result() == []
    assert len(asyncio.all_tasks()) == 1
