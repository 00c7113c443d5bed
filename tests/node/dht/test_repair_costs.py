"""What keeping the copies costs: little for each change of members, nothing where nothing can be missing."""

import asyncio
from collections import Counter

from node.ports import StoredRecord
from protocol.dht_messages import Offer, Store
from protocol.messages import Request
from protocol.records import Record
from tests.node.dht.cluster import Cluster, FakePeer, put
from tests.node.dht.test_reading import old_version
from tests.node.dht.test_repair import filled
from tests.node.dht.virtual_time import in_virtual_time, until
from tests.protocol import samples


def hear(peer: FakePeer, other: FakePeer) -> None:
    """Let one peer find that another, whom it suspected, lives: the same run of it, under the same address."""
    peer.dht.member_up(samples.descriptor(other.number))


async def keep_foreign(peer: FakePeer, record: Record) -> None:
    """Let a peer have a copy that it should not have."""
    await peer.dht._shelf.commit([StoredRecord(peer.cluster.place_of(record.key), record)], is_replica=True)


@in_virtual_time
async def test_suspicion_that_ends_moves_nothing() -> None:
    """Cuts make suspicions by the hundred; whoever proves to live still has its copies."""
    async with Cluster(12, k=4) as cluster:
        await filled(cluster, 50)
        asked = Counter[str]()

        def count(sender: bytes, request: Request) -> None:
            asked[type(request).__name__] += 1

        suspected = cluster.peers[4]
        suspected.answers = count
        for _ in range(20):
            for peer in cluster.peers:
                if peer is not suspected:
                    hear(peer, suspected)
            await asyncio.sleep(0.1)

        assert asked["Compare"] <= 4  # those of the periodic comparison
        assert not asked["Offer"]


@in_virtual_time
async def test_member_that_could_not_be_reached_is_compared_with_when_it_is_heard_again() -> None:
    """What was given up is brought as soon as the way is open, though nobody was ever declared dead."""
    async with Cluster(6, k=3) as cluster:
        missing = cluster.holders("color")[2]
        others = [peer for peer in cluster.peers if peer is not missing]
        await put(cluster.peers[0], "color", b"old")
        cluster.divide([missing], others)
        await put(cluster.holders("color")[0], "color", b"new")
        await asyncio.sleep(60)  # all have given up
        assert cluster.copies("color")[missing.number].value == b"old"

        cluster.cut.clear()
        for peer in others:
            hear(peer, missing)

        await until(lambda: cluster.copies("color")[missing.number].value == b"new", within_s=0.5)


@in_virtual_time
async def test_network_without_records_compares_nothing() -> None:
    """A comparison can only tell something where one of the two has a copy that the other should have."""
    async with Cluster(8, k=4) as cluster:
        await asyncio.sleep(60)
        await cluster.join()
        await asyncio.sleep(60)

        assert not cluster.requests("Compare")


@in_virtual_time
async def test_old_foreign_copy_goes_without_being_renewed() -> None:
    """A holder that has a newer version does not send it to a peer that is no holder."""
    async with Cluster(8, k=3) as cluster:
        await put(cluster.peers[0], "color", b"new")
        stranger = cluster.stranger_to("color")
        received: list[Request] = []
        stranger.answers = lambda sender, request: received.append(request)
        await keep_foreign(stranger, old_version(cluster.peers[0], "color"))
        assert stranger.number in cluster.copies("color")

        await until(lambda: stranger.number not in cluster.copies("color"), within_s=10)
        assert not [request for request in received if isinstance(request, Offer | Store)]


@in_virtual_time
async def test_foreign_copy_is_not_offered_again_to_who_confirmed_it() -> None:
    """One holder that does not answer does not make the others answer again and again."""
    async with Cluster(8, k=3) as cluster:
        await put(cluster.peers[0], "color", b"red")
        stranger = cluster.stranger_to("color")
        silent, *others = cluster.holders("color")
        offers = Counter[int]()
        for peer in others:
            peer.answers = lambda sender, request, number=peer.number: offers.update(  # type: ignore[misc]
                [number] if isinstance(request, Offer) else []
            )
        record = cluster.copies("color")[silent.number]
        cluster.cut.add((stranger.peer_id, silent.peer_id))
        await keep_foreign(stranger, record)
        await asyncio.sleep(60)
        assert stranger.number in cluster.copies("color")
        assert offers == {peer.number: 1 for peer in others}

        cluster.cut.clear()
        await until(lambda: stranger.number not in cluster.copies("color"), within_s=30)


@in_virtual_time
async def test_members_that_come_one_after_another_are_few_passes() -> None:
    """Half a network that returns after a cut is one pass over all records, or a few, not one for each member."""
    async with Cluster(40, k=3) as cluster:
        await filled(cluster, 20)
        peer, *others = cluster.peers
        returning = others[20:]
        cluster.part(peer, returning)
        await asyncio.sleep(5)
        passes = 0
        rebuild = peer.dht._shelf.rebuild

        async def counted(*args: object) -> None:
            nonlocal passes
            passes += 1
            await rebuild(*args)  # type: ignore[arg-type]

        peer.dht._shelf.rebuild = counted  # type: ignore[method-assign]
        for other in returning:
            cluster.meet(peer, [other])
            await asyncio.sleep(0.03)
        await asyncio.sleep(2)

        assert 1 <= passes <= 5


@in_virtual_time
async def test_what_is_for_a_suspect_waits_until_it_is_heard() -> None:
    """A suspect mostly does not answer; if it does in the end, it is brought what it missed at once."""
    async with Cluster(6, k=3) as cluster:
        giver, missing = cluster.holders("color")[:2]
        await put(giver, "color", b"red")
        record = cluster.copies("color")[missing.number]
        await missing.dht._shelf.remove([StoredRecord(cluster.place_of("color"), record)])
        giver.members.suspects.add(missing.peer_id)
        before = giver.asked.get("Offer", 0)
        giver.dht._outbox.push(missing.peer_id, [cluster.place_of("color")])
        await asyncio.sleep(1)
        assert giver.asked.get("Offer", 0) == before

        giver.members.suspects.clear()
        hear(giver, missing)
        await until(lambda: missing.number in cluster.copies("color"), within_s=0.1)
