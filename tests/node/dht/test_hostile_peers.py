"""What a hostile member sends: nothing is stored that was not verified, nothing grows without bound."""

import asyncio

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.dht import quotas
from node.dht.surroundings import may_write
from node.errors import OperationError
from protocol import limits
from protocol.dht_messages import Fetch, Fetched, Holding, Offer, Offered, RecordOutcome, Store, Stored
from protocol.errors import StoreError
from protocol.messages import HandoverWish, Refusal, Reply, Request
from protocol.records import UNSIGNED_WRITER, Record, owner_of, stamp_of
from protocol.statements import signed
from tests.examples import examples
from tests.node.dht.cluster import START_MS, Cluster, FakePeer, delete, get, put
from tests.node.dht.virtual_time import in_virtual_time
from tests.protocol import samples


def record_of(peer: FakePeer, key: str = "color", **changes: object) -> Record:
    """Return an authentic record of ``peer``, with ``changes`` made before it is signed."""
    draft = Record(author_key=peer.identity.public_key, key=key, value=b"red", stamp=stamp_of(peer.now_ms()))
    return signed(msgspec.structs.replace(draft, **changes), peer.identity, samples.NETWORK_ID)


async def store(cluster: Cluster, record: Record, *, is_replica: bool) -> RecordOutcome:
    """Let peer 1 send a record to peer 2 and return the outcome."""
    request = Store(records=(record,), view=b"" if is_replica else b"view")
    reply = await cluster.peers[0].request(cluster.peers[1].peer_id, request, timeout_s=1)
    assert isinstance(reply, Stored)
    return reply.outcomes[0]


@pytest.mark.parametrize("is_replica", [False, True], ids=["new", "replica"])
@in_virtual_time
async def test_defect_16_every_flipped_field_is_refused(is_replica: bool) -> None:
    """Defects 16, 30: holders check signature, key and value of all that they store."""
    async with Cluster(2) as cluster:
        good = record_of(cluster.peers[0])
        forged = [
            msgspec.structs.replace(good, value=b"blue"),
            msgspec.structs.replace(good, key="taste"),
            msgspec.structs.replace(good, stamp=good.stamp + 1),
            msgspec.structs.replace(good, expires_ms=2**62),
            msgspec.structs.replace(good, is_tombstone=True),
            msgspec.structs.replace(good, signature=b""),
            msgspec.structs.replace(good, author_key=UNSIGNED_WRITER),
            record_of(cluster.peers[0], is_tombstone=True),
        ]
        for record in forged:
            outcome = await store(cluster, record, is_replica=is_replica)
            assert (outcome.outcome, outcome.reason) in [("refused", "invalid"), ("refused", "wrong-writer")]
        assert cluster.peers[1].store.count() == 0

        assert (await store(cluster, good, is_replica=is_replica)).outcome == "synced"


@in_virtual_time
async def test_new_version_comes_from_its_writer_only() -> None:
    """Somebody else's record is a replica, and is checked as one."""
    async with Cluster(3) as cluster:
        outcome = await store(cluster, record_of(cluster.peers[2]), is_replica=False)

        assert outcome.reason == "wrong-writer"


@in_virtual_time
async def test_record_of_the_far_future_is_refused_even_as_a_replica() -> None:
    """A version days ahead would lock everybody out of the key."""
    async with Cluster(2) as cluster:
        ahead = stamp_of(cluster.peers[0].now_ms() + 2 * 86_400_000)
        assert (await store(cluster, record_of(cluster.peers[0], stamp=ahead), is_replica=True)).reason == "stamp"


@in_virtual_time
async def test_rollback_is_answered_with_the_newer_version() -> None:
    """Stores refuse what is older, and prove why."""
    async with Cluster(2) as cluster:
        await put(cluster.peers[0], "color", b"new")
        old = record_of(cluster.peers[0], stamp=stamp_of(cluster.peers[0].now_ms() - 10_000))
        outcome = await store(cluster, old, is_replica=True)

        assert outcome.outcome == "stale"
        assert outcome.newer == (await get(cluster.peers[0], "color")).record.head


@in_virtual_time
async def test_two_values_of_one_version_are_settled_alike_everywhere() -> None:
    """Equivocation: a writer signs both and tells each to another holder; one total order decides for all."""
    async with Cluster(4) as cluster:
        hostile, *others = cluster.peers
        stamp = stamp_of(hostile.now_ms())
        versions = [record_of(hostile, value=value, stamp=stamp) for value in (b"red", b"blue")]
        for holder, version in zip(others[:2], versions, strict=True):
            await hostile.request(holder.peer_id, Store(records=(version,)), timeout_s=1)

        for reader in others:
            assert (await get(reader, "color", quorum=True)).record == max(versions, key=lambda version: version.order)
        await asyncio.sleep(10)
        place = versions[0].digest(open_network=False)
        assert {peer.store.read(place).value for peer in others} == {(await get(others[0], "color")).record.value}


@in_virtual_time
async def test_old_version_brings_no_deleted_key_back() -> None:
    """Whoever kept a version may bring it again and again: the tombstone is newer."""
    async with Cluster(3) as cluster:
        hostile, writer, reader = cluster.peers
        await put(writer, "color", b"red")
        old = (await get(reader, "color")).record
        await delete(writer, "color")
        for _ in range(20):
            for holder in (writer, reader):
                await hostile.request(holder.peer_id, Store(records=(old,)), timeout_s=1)
            await asyncio.sleep(1)

        for peer in cluster.peers:
            with pytest.raises(OperationError) as gone:
                await get(peer, "color", quorum=True)
            assert gone.value.type == "not-found"


@pytest.mark.parametrize("usage", [(limits.RECORDS_PER_OWNER_MAX, 0), (0, limits.BYTES_PER_OWNER_MAX)])
@in_virtual_time
async def test_defect_32_quota_of_a_writer_is_kept(usage: tuple[int, int]) -> None:
    """Defect 32: one writer fills no disk; what it has may be overwritten, and others go on."""
    async with Cluster(2) as cluster:
        await put(cluster.peers[0], "color", b"red")
        author = cluster.peers[0].identity.public_key
        true_usage = cluster.peers[1].store.usage
        cluster.peers[1].store.usage = lambda key: usage if key == author else true_usage(key)

        assert (await store(cluster, record_of(cluster.peers[0], "other"), is_replica=True)).reason == "quota-exceeded"
        smaller = record_of(cluster.peers[0], "color", value=b"", stamp=stamp_of(cluster.peers[0].now_ms() + 50))
        assert (await store(cluster, smaller, is_replica=True)).outcome == "synced"
        assert (await get(cluster.peers[1], "color")).record.value == b""
        await put(cluster.peers[1], "more", b"fine")


def invented(number: int, *, value: bytes = b"x") -> Record:
    """Return an authentic record whose writer is a key pair that no member has."""
    writer = samples.identity(100_000 + number)
    draft = Record(
        author_key=writer.public_key, key=f"invented/{number}", value=value, stamp=stamp_of(START_MS, number % 100)
    )
    return signed(draft, writer, samples.NETWORK_ID)


@in_virtual_time
async def test_invented_writers_share_the_quota_of_the_member_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hostile member signs with any number of keys; all that it brings of strangers is bounded (threats, section 2).

    Records of members, and its own, are still taken; and so are those that another member brings.
    """
    monkeypatch.setattr(limits, "RECORDS_PER_OWNER_MAX", 5)
    monkeypatch.setattr(quotas, "_DAY_S", 10.0)
    async with Cluster(3) as cluster:
        outcomes = [await store(cluster, invented(number), is_replica=True) for number in range(8)]
        assert [outcome.reason for outcome in outcomes] == [""] * 5 + ["quota-exceeded"] * 3
        assert (await store(cluster, record_of(cluster.peers[2]), is_replica=True)).outcome == "synced"
        assert (await store(cluster, record_of(cluster.peers[0], "own"), is_replica=True)).outcome == "synced"
        honest = Store(records=(invented(9),))
        reply = await cluster.peers[2].request(cluster.peers[1].peer_id, honest, timeout_s=1)
        assert isinstance(reply, Stored) and reply.outcomes[0].outcome == "synced"

        await asyncio.sleep(2.0)  # a fifth of a day's quota is free again
        assert (await store(cluster, invented(20), is_replica=True)).reason == ""
        assert (await store(cluster, invented(21), is_replica=True)).reason == "quota-exceeded"


@in_virtual_time
async def test_bytes_of_invented_writers_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever their number."""
    monkeypatch.setattr(limits, "BYTES_PER_OWNER_MAX", 1000)
    async with Cluster(2) as cluster:
        outcomes = [await store(cluster, invented(number, value=bytes(400)), is_replica=True) for number in range(4)]
        assert [outcome.reason for outcome in outcomes] == ["", "", "quota-exceeded", "quota-exceeded"]


@in_virtual_time
async def test_new_versions_of_one_member_have_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it writes the same key again and again, which no quota of space counts."""
    monkeypatch.setattr(quotas, "WRITES_BURST", 3.0)
    monkeypatch.setattr(quotas, "WRITES_PER_S", 2.0)
    async with Cluster(2) as cluster:
        writer = cluster.peers[0]

        async def write(number: int) -> str:
            later = record_of(writer, stamp=stamp_of(writer.now_ms(), number))
            return (await store(cluster, later, is_replica=False)).reason

        assert [await write(number) for number in range(5)] == ["", "", "", "quota-exceeded", "quota-exceeded"]
        await asyncio.sleep(0.6)
        assert [await write(10), await write(11)] == ["", "quota-exceeded"]
        await put(cluster.peers[1], "more", b"others go on")


@in_virtual_time
async def test_requests_that_fit_no_handler_are_refused() -> None:
    """Unknown requests and inconsistent ones get an answer, so that nobody waits (defect 28)."""
    async with Cluster(2) as cluster:
        asking, asked = cluster.peers[0], cluster.peers[1].peer_id
        record = record_of(asking)
        requests: list[Request] = [
            HandoverWish(),
            Store(records=(record, record), places=(bytes(20),)),
            Store(records=(record, record), view=b"view"),
            Store(records=(msgspec.structs.replace(record, key=""),)),
        ]
        for request in requests:
            assert isinstance(await asking.request(asked, request, timeout_s=1), Refusal)


@in_virtual_time
async def test_nonsense_answers_of_holders_fail_no_operation() -> None:
    """A peer that answers the wrong thing counts as one that refused (defect 29)."""
    async with Cluster(6, k=5) as cluster:
        nonsense: list[Reply] = [Refusal(reason="no"), Fetched(), Offered(answers=b""), Stored(outcomes=())]
        hostile = cluster.peers[5]
        for number, reply in enumerate(nonsense):

            def lie(sender: bytes, request: Request, reply: Reply = reply) -> Reply:
                return reply

            hostile.answers = lie
            key = f"key-{number}"
            await put(cluster.peers[0], key, b"v")
            for peer in cluster.peers[:5]:
                assert (await get(peer, key)).record.value == b"v"
                assert (await peer.dht.keys(key, timeout_s=1)).keys[0].key == key


@in_virtual_time
async def test_offers_of_what_nobody_sends_cost_nothing() -> None:
    """Promised versions that never come are asked of others a moment later."""
    async with Cluster(4, k=4) as cluster:
        await put(cluster.peers[0], "color", b"red")
        place = cluster.place_of("color")
        offer = Offer(holdings=(Holding(place, 2**62),))
        for peer in cluster.peers[1:]:
            await cluster.peers[0].request(peer.peer_id, offer, timeout_s=1)

        assert (await get(cluster.peers[3], "color")).record.value == b"red"
        await put(cluster.peers[2], "color", b"blue")
        assert {record.value for record in cluster.copies("color").values()} == {b"blue"}


@in_virtual_time
async def test_fetch_of_any_place_is_answered() -> None:
    """An unknown place is absent, not an error."""
    async with Cluster(2) as cluster:
        reply = await cluster.peers[0].request(cluster.peers[1].peer_id, Fetch(place=bytes(20)), timeout_s=1)

        assert reply == Fetched(request_id=1)


@given(st.text(max_size=80))
@settings(max_examples=examples(200))
def test_only_keys_of_the_exact_form_belong_to_somebody(key: str) -> None:
    """Any other key that starts with @ is anybody's."""
    owner = samples.identity(1).peer_id
    owned = f"@{owner.hex()}/{key}"

    assert owner_of(owned) == owner
    assert may_write(owned, owner)
    assert not may_write(owned, samples.identity(2).peer_id)
    assert owner_of("@" + key) is None or len(key) > 64
    assert owner_of(f"@{owner.hex().upper()}/{key}") is None


def broken_disk(peer: FakePeer) -> None:
    """Let every use of a peer's store fail, as a failing disk does."""

    def fail(*arguments: object, **options: object) -> None:
        raise StoreError("input/output error", next_step="replace the disk")

    async def fail_later(*arguments: object, **options: object) -> None:
        fail()

    for name in ("read", "scan", "changed_since", "expired", "usage"):
        setattr(peer.store, name, fail)
    for name in ("commit", "remove"):
        setattr(peer.store, name, fail_later)


@in_virtual_time
async def test_peer_whose_disk_fails_still_serves_its_users_from_others() -> None:
    """A failing disk ends no operation with anything but an operation error, and no task of the DHT."""
    async with Cluster(6, k=5) as cluster:
        await put(cluster.peers[0], "color", b"red")
        broken = cluster.holders("color")[0]
        broken_disk(broken)

        assert (await get(broken, "color")).record.value == b"red"
        assert len((await put(broken, "color", b"blue")).holders) == 4
        assert (await broken.dht.keys("", timeout_s=1.0)).complete is False
        cluster.kill(next(peer for peer in cluster.peers if peer is not broken))
        cluster.verdict(*(peer for peer in cluster.peers if not peer.runs))
        await asyncio.sleep(20)
        for peer in cluster.peers:
            if peer.runs:
                assert (await get(peer, "color")).record.value == b"blue"
