"""Members by distance, and lookups among members that know only part of each other."""

import asyncio
import random

import msgspec

from node.dht.kademlia.contacts import MemberContact
from protocol import codec, limits
from protocol.dht_messages import FindNode, FoundNodes
from protocol.ids import Digest, PeerId, distance, kademlia_id_of
from protocol.statements import Descriptor
from tests.node.dht.kademlia.neighbours import SealedNetwork
from tests.node.dht.virtual_time import in_virtual_time
from tests.protocol import samples

EVERYBODY = [samples.descriptor(number) for number in range(1, 41)]
TARGET = Digest(b"t" * 20)


def nearest_of(descriptors: list[Descriptor], count: int, target: Digest = TARGET) -> list[PeerId]:
    peer_ids = [descriptor.peer_id for descriptor in descriptors]
    return sorted(peer_ids, key=lambda peer_id: distance(kademlia_id_of(peer_id), target))[:count]


def ids_of(contacts: list[MemberContact]) -> list[PeerId]:
    return [contact.peer_id for contact in contacts]


def network_of_strangers(knows: int) -> SealedNetwork:
    """Return a network of forty in which each knows its neighbours by place and a few others."""
    network = SealedNetwork()
    draw = random.Random(4)
    by_place = sorted(EVERYBODY, key=lambda descriptor: descriptor.peer_id)
    for index, descriptor in enumerate(by_place):
        near = by_place[max(0, index - 2) : index] + by_place[index + 1 : index + 3]
        others = [each for each in by_place if each not in near and each is not descriptor]
        network.add(descriptor, near + draw.sample(others, knows))
    return network


def test_closest_are_exact_and_count_the_local_peer() -> None:
    """DESIGN section 7: with the full table the k closest are known at once."""
    network = SealedNetwork()
    node = network.add(EVERYBODY[0], EVERYBODY[1:])

    for descriptor in EVERYBODY:
        target = kademlia_id_of(descriptor.peer_id)
        assert node.closest(target, 8) == nearest_of(EVERYBODY, 8, target)


def test_member_down_is_out_at_once_and_member_up_in_again() -> None:
    """Membership verdicts prune the table; a later boot brings the present address."""
    node = SealedNetwork().add(EVERYBODY[0], EVERYBODY[1:])
    gone = nearest_of(EVERYBODY[1:], 1)[0]
    number = next(index for index, each in enumerate(EVERYBODY, start=1) if each.peer_id == gone)

    node.member_down(gone)
    assert gone not in node.closest(TARGET, 40)
    node.member_up(samples.descriptor(number, boot=2, port=9999))

    (contact,) = [each for each in node.closest_contacts(TARGET, 40) if each.peer_id == gone]
    assert contact.port == 9999


@in_virtual_time
async def test_lookup_finds_the_nearest_through_others() -> None:
    """Kademlia 2002, section 2.3: a peer that knows few finds the truly nearest of all."""
    network = network_of_strangers(knows=6)

    for descriptor in EVERYBODY[:10]:
        found = await network.nodes[descriptor.peer_id].lookup(TARGET, 4, timeout_s=5.0)
        assert ids_of(found) == nearest_of(EVERYBODY, 4)


@in_virtual_time
async def test_lookup_returns_only_members_that_answer() -> None:
    """Silent members are never in the result, nor asked again a moment later (defects 17 and 18)."""
    network = network_of_strangers(knows=30)
    local = EVERYBODY[0]
    dead = [peer_id for peer_id in nearest_of(EVERYBODY, 6) if peer_id != local.peer_id][:3]
    network.silent.update(dead)
    alive = [each for each in EVERYBODY if each.peer_id not in dead]

    node = network.nodes[local.peer_id]
    assert ids_of(await node.lookup(TARGET, 4, timeout_s=5.0)) == nearest_of(alive, 4)
    for peer_id in dead:  # their calls ended with the lookup, before they could fail
        node._protocol.failures.add(kademlia_id_of(peer_id), asyncio.get_running_loop().time())
    network.asked.clear()
    assert ids_of(await node.lookup(TARGET, 4, timeout_s=5.0)) == nearest_of(alive, 4)
    assert not set(network.asked) & set(dead)


@in_virtual_time
async def test_member_found_by_a_lookup_is_introduced() -> None:
    """Whom the local membership does not know is told to it, once the descriptor's signature holds."""
    network = SealedNetwork()
    asker, helper, stranger = EVERYBODY[:3]
    network.add(helper, [asker, stranger])
    network.add(stranger, [helper])
    node = network.add(asker, [helper])

    found = await node.lookup(kademlia_id_of(stranger.peer_id), 3, timeout_s=5.0)

    assert stranger.peer_id in ids_of(found)
    assert network.introduced == [stranger]


@in_virtual_time
async def test_defect_29_forged_contact_in_an_answer_is_ignored() -> None:
    """Hearsay counts as far as it is signed: an address changed on the way is none (also defect 30)."""
    network = SealedNetwork()
    asker, helper, stranger = EVERYBODY[:3]
    forged = msgspec.structs.replace(stranger, address=samples.descriptor(9).address)
    network.add(helper, [asker, forged])
    node = network.add(asker, [helper])

    found = await node.lookup(kademlia_id_of(stranger.peer_id), 3, timeout_s=5.0)

    assert stranger.peer_id not in ids_of(found)
    assert network.introduced == []


@in_virtual_time
async def test_lookup_of_a_lone_peer_finds_itself() -> None:
    """A network of one has one holder for everything."""
    node = SealedNetwork().add(EVERYBODY[0], [])

    assert ids_of(await node.lookup(TARGET, 8, timeout_s=1.0)) == [EVERYBODY[0].peer_id]


@in_virtual_time
async def test_answer_fits_one_datagram_and_leaves_out_who_asks() -> None:
    """Never a retry over TCP for contacts: the nearest that fit are enough to go on."""
    node = SealedNetwork().add(EVERYBODY[0], EVERYBODY[1:])
    asker = nearest_of(EVERYBODY[1:], 1)[0]

    reply = node.answer_find_node(asker, FindNode(target=TARGET, count=limits.HOLDERS_MAX))

    addressed = msgspec.structs.replace(reply, request_id=2**63 - 1, receiver_boot=2**63 - 1)
    assert codec.encoded_size(addressed) <= limits.MESSAGE_SIZE_MAX_BYTES
    others = [each for each in EVERYBODY[1:] if each.peer_id != asker]
    assert len(reply.contacts) >= 4
    assert [each.peer_id for each in reply.contacts] == nearest_of(others, len(reply.contacts))


@in_virtual_time
async def test_answer_counts_as_asked() -> None:
    """A peer that wants one contact gets one."""
    node = SealedNetwork().add(EVERYBODY[0], EVERYBODY[1:])

    reply = node.answer_find_node(EVERYBODY[1].peer_id, FindNode(target=TARGET, count=1))

    assert isinstance(reply, FoundNodes)
    assert len(reply.contacts) == 1
