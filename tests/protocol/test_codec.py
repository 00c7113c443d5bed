"""Bytes on the wire: golden, bounded, and never a surprise."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import codec, limits
from protocol.dht_messages import (
    ChangeNoted,
    ChangesPulled,
    Compare,
    Compared,
    Fetch,
    Fetched,
    FindNode,
    FoundNodes,
    Holding,
    KeysListed,
    ListKeys,
    Offer,
    Offered,
    PullChanges,
    PushChange,
    RecordOutcome,
    Store,
    Stored,
)
from protocol.errors import DecodeError, LocalProtocolError
from protocol.messages import (
    CONTROL_MESSAGES,
    DHT_MESSAGES,
    SERVICE_MESSAGES,
    Accepted,
    Ack,
    Announce,
    BansKnown,
    BootNotice,
    CertificateRequest,
    Gossip,
    Handover,
    HandoverWish,
    Heartbeat,
    HeartbeatAck,
    IndirectAck,
    JoinForward,
    JoinReply,
    JoinRequest,
    LeaderClaim,
    LeaseEnded,
    Message,
    Ping,
    PingRequest,
    PreVoteReply,
    PreVoteRequest,
    Refusal,
    ReplyTooLarge,
    Sync,
    VoteReply,
    VoteRequest,
    VotersKnown,
    WhoAreYou,
)
from protocol.statements import Ballot, Readmission
from tests.protocol import samples

GOLDEN_FILE = Path(__file__).with_name("golden_messages.json")
"""Hexadecimal bytes of each example. Rewrite it by hand and on purpose: old peers must go on reading."""

CERTIFICATE = samples.certificate()
BALLOT = Ballot(3, samples.identity(1).peer_id)
CLAIM = LeaderClaim(BALLOT, 5)
COUNCIL = CERTIFICATE.council
UPDATES = (samples.descriptor(2).encoded, samples.accusation(1, 2).encoded)

EXAMPLES: tuple[Message, ...] = (
    Ping(receiver_boot=9, sequence=1, updates=UPDATES, claim=CLAIM),
    Ack(receiver_boot=9, sequence=1, wall_ms=1_800_000_000_000),
    PingRequest(receiver_boot=9, sequence=2, target=samples.identity(2).peer_id),
    IndirectAck(receiver_boot=9, sequence=2, target=samples.identity(2).peer_id, reached=False),
    Gossip(receiver_boot=9, updates=(samples.leave(2).encoded,)),
    Sync(receiver_boot=9, buckets=tuple(bytes([bucket]) * 8 for bucket in range(16))),
    BootNotice(descriptor=samples.descriptor(1)),
    WhoAreYou(),
    JoinRequest(descriptor=samples.descriptor(1), nonce=77),
    JoinReply(descriptor=samples.descriptor(1), nonce=77, network_time_ms=1_800_000_000_000, members=5, claim=CLAIM),
    JoinForward(receiver_boot=9, descriptor=samples.descriptor(1)),
    PreVoteRequest(receiver_boot=9, ballot=BALLOT, council=COUNCIL, is_merge=True),
    PreVoteReply(receiver_boot=9, ballot=BALLOT, granted=True, highest=BALLOT),
    VoteRequest(receiver_boot=9, ballot=BALLOT, council=COUNCIL, release=samples.release(1, 2)),
    VoteReply(receiver_boot=9, ballot=BALLOT, highest=BALLOT, vote=CERTIFICATE.votes[0]),
    Heartbeat(receiver_boot=9, ballot=BALLOT, sequence=8, followers=5),
    HeartbeatAck(receiver_boot=9, ballot=BALLOT, sequence=8, highest=BALLOT),
    Announce(receiver_boot=9, certificate=CERTIFICATE, followers=5),
    CertificateRequest(receiver_boot=9, ballot=BALLOT),
    Handover(receiver_boot=9, release=samples.release(1, 2)),
    VotersKnown(
        receiver_boot=9,
        voters=samples.voter_list(
            voters=COUNCIL[:3], version=2, readmitted=[Readmission(voter=COUNCIL[0], lost_in=9, above_term=70)]
        ),
    ),
    LeaseEnded(receiver_boot=9, ballot=BALLOT),
    BansKnown(receiver_boot=9, digest=b"d" * 8, bans=(samples.ban(2),)),
    FindNode(receiver_boot=9, request_id=5, target=samples.identity(2).peer_id[:20], count=8),
    FoundNodes(receiver_boot=9, request_id=5, contacts=(samples.descriptor(1), samples.descriptor(2))),
    HandoverWish(receiver_boot=9, request_id=5, successor=samples.identity(2).peer_id),
    Accepted(receiver_boot=9, request_id=5),
    ReplyTooLarge(receiver_boot=9, request_id=5),
    Refusal(receiver_boot=9, request_id=5, reason="not a member here"),
    Store(receiver_boot=9, request_id=5, records=(samples.record(1),), view=b"view"),
    Stored(
        receiver_boot=9,
        request_id=5,
        outcomes=(
            RecordOutcome(outcome="synced", existed=True),
            RecordOutcome(outcome="stale", newer=samples.record(2).head),
            RecordOutcome(outcome="refused", reason="disk-full"),
        ),
        holders=(samples.identity(1).peer_id, samples.identity(2).peer_id),
    ),
    Fetch(receiver_boot=9, request_id=5, place=samples.KEY_PLACE, view=b"view", counts_holders=True),
    Fetched(receiver_boot=9, request_id=5, record=samples.record(1), holders=(samples.identity(1).peer_id,)),
    Compare(receiver_boot=9, request_id=5, buckets=tuple(bytes([mark]) * 8 for mark in range(16)), collected_before=7),
    Compared(receiver_boot=9, request_id=5, differing=2**15 + 1, collected_before=7),
    Offer(receiver_boot=9, request_id=5, holdings=(Holding(samples.KEY_PLACE, 2**60),)),
    Offered(receiver_boot=9, request_id=5, answers=b"\x01"),
    ListKeys(receiver_boot=9, request_id=5, prefix="co", after="cola"),
    KeysListed(receiver_boot=9, request_id=5, heads=(samples.record(1).head,)),
    PullChanges(receiver_boot=9, request_id=5, watch=6, prefix="co", is_exact=False, since=2**60, lease_s=20),
    ChangesPulled(
        receiver_boot=9, request_id=5, records=(samples.record(1),), since=2**60, after=samples.KEY_PLACE, is_end=False
    ),
    PushChange(receiver_boot=9, request_id=5, watch=6, record=samples.record(1)),
    ChangeNoted(receiver_boot=9, request_id=5, is_watched=True),
)


def name_of(message: Message) -> str:
    return type(message).__name__


def test_there_is_an_example_of_every_message() -> None:
    """A new message without golden bytes is noticed."""
    assert {type(message) for message in EXAMPLES} == {*CONTROL_MESSAGES, *DHT_MESSAGES, *SERVICE_MESSAGES}


def test_tags_are_unique() -> None:
    """Tags are append-only: no two messages share one."""
    tags = [type(message).__struct_config__.tag for message in EXAMPLES]

    assert len(set(tags)) == len(tags)


@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_bytes_are_those_that_older_peers_read(message: Message) -> None:
    """Golden bytes: the wire format does not change by accident."""
    golden = json.loads(GOLDEN_FILE.read_text())

    assert codec.encode(message).hex() == golden[name_of(message)]


@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_decode_undoes_encode(message: Message) -> None:
    """Nothing is lost on the wire."""
    assert codec.decode(codec.encode(message)) == message


@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_every_cut_is_a_decode_error(message: Message) -> None:
    """A message that ends early is no message."""
    data = codec.encode(message)
    for size in range(len(data)):
        with pytest.raises(DecodeError):
            codec.decode(data[:size])


@pytest.mark.parametrize("message", EXAMPLES, ids=name_of)
def test_trailing_bytes_and_extra_items_are_decode_errors(message: Message) -> None:
    """Extra bytes are errors, never ignored in silence."""
    with pytest.raises(DecodeError):
        codec.decode(codec.encode(message) + b"\x00")
    items = [*msgspec.msgpack.decode(codec.encode(message)), None]
    with pytest.raises(DecodeError):
        codec.decode(msgspec.msgpack.encode(items))


def test_unknown_tag_is_a_decode_error() -> None:
    """A later version's message is refused, not misread."""
    with pytest.raises(DecodeError):
        codec.decode(msgspec.msgpack.encode([120, 0]))


@pytest.mark.parametrize(
    "data",
    [b"\xdd\xff\xff\xff\xff", b"\x91" * 1000, b"\xc1", b"\xc7\x08\x01" + bytes(8), b"\xdf\xff\xff\xff\xff\x01", b""],
    ids=["lying length", "nesting", "unused byte", "extension", "lying map", "nothing"],
)
def test_hostile_bytes_are_decode_errors(data: bytes) -> None:
    """Bombs of notes on MessagePack end in the one documented error."""
    with pytest.raises(DecodeError):
        codec.decode(data)


@given(st.binary(max_size=limits.MESSAGE_SIZE_MAX_BYTES + 10))
def test_any_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    """``decode`` raises ``DecodeError`` and nothing else, for any bytes at all."""
    try:
        message = codec.decode(data)
    except DecodeError:
        return
    assert isinstance(message, Message)


@given(st.data())
def test_mutated_messages_decode_or_raise_decode_error(data: st.DataObject) -> None:
    """The same near valid messages, where bugs live."""
    mutated = bytearray(codec.encode(data.draw(st.sampled_from(EXAMPLES))))
    for _ in range(data.draw(st.integers(1, 8))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        message = codec.decode(bytes(mutated))
    except DecodeError:
        return
    assert isinstance(message, Message)


def test_a_full_council_certificate_fits_a_datagram() -> None:
    """Four of seven votes and the seven ids, announced in one datagram."""
    announce = Announce(receiver_boot=2**64 - 1, certificate=samples.certificate(term=2**62), followers=4096)

    assert len(codec.encode(announce)) <= limits.MESSAGE_SIZE_MAX_BYTES


def test_a_full_list_of_voters_fits_a_datagram() -> None:
    """Seven voters, each of them readmitted, in one datagram."""
    readmitted = [Readmission(voter=voter, lost_in=2**64 - 1, above_term=2**62) for voter in COUNCIL]
    paper = samples.voter_list(voters=COUNCIL, version=2**31 - 1, lease_ms=60_000, readmitted=readmitted)

    assert len(codec.encode(VotersKnown(receiver_boot=2**64 - 1, voters=paper))) <= limits.MESSAGE_SIZE_MAX_BYTES


def test_message_that_fits_no_datagram_is_a_local_error() -> None:
    """The sender's own mistake is told to the sender."""
    with pytest.raises(LocalProtocolError):
        codec.encode(Gossip(updates=tuple(bytes(500) for _ in range(4))))


@given(st.binary(max_size=600))
def test_any_evidence_bytes_decode_or_raise_decode_error(data: bytes) -> None:
    """Evidence comes inside gossip, decoded apart."""
    try:
        evidence = codec.decode_evidence(data)
    except DecodeError:
        return
    assert evidence.encoded
