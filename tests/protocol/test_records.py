"""Versions of records: one order everywhere, and a head proves as much as the whole."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec, limits
from protocol.dht_messages import Store
from protocol.identity import CachingVerifier
from protocol.records import (
    REPLICA_AHEAD_MAX_MS,
    STAMP_AHEAD_MAX_MS,
    UNSIGNED_WRITER,
    Record,
    newest,
    next_stamp,
    stamp_is_credible,
    stamp_of,
    time_ms_of,
)
from tests.protocol import samples

NOW_MS = 1_800_000_000_000
RECORDS = st.builds(
    Record,
    author_key=st.sampled_from([samples.identity(1).public_key, samples.identity(2).public_key]),
    key=st.just("color"),
    is_tombstone=st.booleans(),
    value=st.sampled_from([b"", b"red", b"blue"]),
    stamp=st.integers(0, 3),
    expires_ms=st.integers(0, 2),
)


@given(st.lists(RECORDS, min_size=1, max_size=6), st.randoms())
def test_any_order_of_arrival_ends_in_the_same_version(records: list[Record], random: object) -> None:
    """Holders that saw the same versions keep the same one."""
    shuffled = list(records)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    kept: list[Record | None] = [None, None]
    for record in records:
        kept[0] = newest(kept[0], record)
    for record in shuffled:
        kept[1] = newest(kept[1], record)

    assert kept[0] == kept[1]


@given(RECORDS, RECORDS)
def test_different_versions_have_different_names_and_places_in_the_order(left: Record, right: Record) -> None:
    """Kind and expiry belong to a version too."""
    assert (left == right) == (left.order == right.order) == (left.version == right.version)


@given(RECORDS)
def test_head_orders_and_names_as_the_record_does(record: Record) -> None:
    """A head stands for its record."""
    head = record.head

    assert (head.order, head.version) == (record.order, record.version)
    assert [head.is_live(now) for now in range(4)] == [record.is_live(now) for now in range(4)]


def test_one_signature_proves_record_and_head() -> None:
    """The signature covers the hash of the value, so a version is proved without moving its value."""
    record, verifier = samples.record(1), CachingVerifier()

    for version in (record, record.head):
        assert version.is_acceptable(verifier, samples.NETWORK_ID, open_network=False)
    for forged in (
        msgspec.structs.replace(record, value=b"blue"),
        msgspec.structs.replace(record, key="taste"),
        msgspec.structs.replace(record, stamp=record.stamp + 1),
        msgspec.structs.replace(record, expires_ms=1),
        msgspec.structs.replace(record, is_tombstone=True),
        msgspec.structs.replace(record, author_key=samples.identity(2).public_key),
    ):
        assert not forged.is_acceptable(verifier, samples.NETWORK_ID, open_network=False)
        assert not forged.head.is_acceptable(verifier, samples.NETWORK_ID, open_network=False)


def test_unsigned_records_are_for_open_networks() -> None:
    """Stock nodes sign nothing."""
    record = Record(author_key=UNSIGNED_WRITER, key="", value=b"red", stamp=1)

    assert record.is_acceptable(CachingVerifier(), samples.NETWORK_ID, open_network=True)
    assert not record.is_acceptable(CachingVerifier(), samples.NETWORK_ID, open_network=False)


@pytest.mark.parametrize("key", ["", "x" * 513, "é" * 257])
def test_key_of_a_signed_record_has_its_bounds(key: str) -> None:
    """1 to 512 bytes, counted as bytes."""
    record = samples.record(1, key=key)

    assert not record.is_acceptable(CachingVerifier(), samples.NETWORK_ID, open_network=False)


@given(st.integers(0, 2**47), st.integers(0, 2**62), st.integers(0, 2**12))
def test_next_stamp_is_above_all_that_is_known_and_not_in_the_past(time_ms: int, above: int, counter: int) -> None:
    """Hybrid logical time (Kulkarni et al. 2014)."""
    stamp = next_stamp(network_time_ms=time_ms, above=above, counter=counter)

    assert stamp > above
    assert time_ms_of(stamp) >= time_ms


@pytest.mark.parametrize(
    ("ahead_ms", "stored_ms", "is_replica", "expected"),
    [
        (0, 0, False, True),
        (STAMP_AHEAD_MAX_MS, 0, False, True),
        (STAMP_AHEAD_MAX_MS + 1, 0, False, False),
        (STAMP_AHEAD_MAX_MS + 1, 0, True, True),
        (REPLICA_AHEAD_MAX_MS + 1, 0, True, False),
        (3_600_001, 3_600_000, False, True),
        (3_700_000, 3_600_000, False, False),
    ],
)
def test_stamps_of_the_future_are_refused(ahead_ms: int, stored_ms: int, is_replica: bool, expected: bool) -> None:
    """But a key once written by a peer with a fast clock stays writable."""
    stored = stamp_of(NOW_MS + stored_ms) if stored_ms else 0
    credible = stamp_is_credible(
        stamp_of(NOW_MS + ahead_ms), network_time_ms=NOW_MS, stored_stamp=stored, is_replica=is_replica
    )

    assert credible is expected


def test_value_of_one_kibibyte_fits_a_datagram() -> None:
    """With a key of a dozen characters: writes of 1 KB need no TCP."""
    record = samples.record(1, key="bench-000123", value=bytes(1024))
    request = Store(receiver_boot=2**64 - 1, request_id=2**63 - 1, records=(record,), view=b"view")

    assert codec.encoded_size(request) <= limits.MESSAGE_SIZE_MAX_BYTES
