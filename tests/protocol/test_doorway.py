"""The talk between a newcomer and the issuer of its invite: golden, bounded, bound to both of them."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.doorway import (
    ANSWER_SIZE_MAX_BYTES,
    CONTACTS_MAX,
    DOOR_MESSAGES,
    KNOCK_SIZE_MAX_BYTES,
    DoorMessage,
    Greeting,
    Guest,
    Knock,
    TurnedAway,
    Welcome,
    frame,
    frame_in,
    knock,
    proves,
)
from protocol.errors import DecodeError
from protocol.identity import CachingVerifier, Identity
from protocol.ids import PeerId
from protocol.statements import Address
from tests.protocol.test_invites import INVITE

NEWCOMER = Identity(b"N" * 32)
GREETING = Greeting(nonce=b"g" * 32, wall_ms=1_800_000_000_000)
KNOCK = knock(INVITE, GREETING, NEWCOMER)
EXAMPLES: tuple[DoorMessage, ...] = (
    GREETING,
    KNOCK,
    Welcome(
        name="local",
        key=b"k" * 32,
        admin_public_key=b"a" * 32,
        mode="available",
        open=False,
        contacts=(Address("192.0.2.1", 7400),),
        profile="lan",
        k=5,
    ),
    Guest(name="local", network_id=b"n" * 32, token="pairt_x", apis=("http://192.0.2.1:8400",)),
    TurnedAway(reason="used", wall_ms=1_800_000_000_000),
)
GOLDEN_FILE = Path(__file__).with_name("golden_door.json")
"""Hexadecimal frames of each example. Rewrite it by hand and on purpose: older peers must go on reading."""


def read(data: bytes) -> DoorMessage | None:
    return frame_in(data, size_max_bytes=ANSWER_SIZE_MAX_BYTES)


def test_every_message_has_an_example() -> None:
    """A new message without golden bytes is noticed."""
    assert {type(message) for message in EXAMPLES} == {*DOOR_MESSAGES}


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_frames_are_those_that_older_peers_read(message: DoorMessage) -> None:
    """Golden bytes: what is said at the door does not change by accident, and every frame is read back."""
    golden = json.loads(GOLDEN_FILE.read_text())

    assert frame(message).hex() == golden[type(message).__name__]
    assert read(frame(message)) == message
    assert [read(frame(message)[:size]) for size in range(len(frame(message)))] == [None] * len(frame(message))
    with pytest.raises(DecodeError):
        read(frame(message) + b"x")


def test_a_newcomer_is_read_no_further_than_its_word() -> None:
    """What is announced as longer is refused at once, before it comes."""
    assert len(frame(KNOCK)) <= KNOCK_SIZE_MAX_BYTES
    with pytest.raises(DecodeError):
        frame_in(KNOCK_SIZE_MAX_BYTES.to_bytes(2, "big"), size_max_bytes=KNOCK_SIZE_MAX_BYTES)


def test_the_largest_answer_fits() -> None:
    """A network with the longest name and contacts on IPv6."""
    contacts = (Address("2001:0db8:1111:2222:3333:4444:5555:6666", 65535),) * CONTACTS_MAX
    apis = ("http://[2001:0db8:1111:2222:3333:4444:5555:6666]:65535",) * CONTACTS_MAX
    welcome = msgspec.structs.replace(EXAMPLES[2], name="n" * 63, contacts=contacts)
    guest = msgspec.structs.replace(EXAMPLES[3], name="n" * 63, token="t" * 128, apis=apis)

    assert max(len(frame(welcome)), len(frame(guest))) <= ANSWER_SIZE_MAX_BYTES


@given(st.binary(max_size=300).map(lambda data: len(data).to_bytes(2, "big") + data) | st.binary(max_size=300))
def test_any_bytes_are_a_message_or_a_decode_error(data: bytes) -> None:
    """``frame_in`` raises ``DecodeError`` and nothing else; None says that more must come."""
    try:
        message = read(data)
    except DecodeError:
        return
    assert message is None or isinstance(message, DOOR_MESSAGES)
    assert message is not None or len(data) < 2 + int.from_bytes(data[:2], "big")


@pytest.mark.parametrize(
    "change",
    [
        {"public_key": Identity(b"M" * 32).public_key},
        {"proof": b"p" * 32},
        {"signature": bytes(64)},
        {"invite_id": b"fedcba"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_proof_is_bound_to_all_that_it_names(change: dict[str, bytes]) -> None:
    """Who changes a field of a knock proves nothing; the untouched one proves the secret and the key."""
    verifier = CachingVerifier()

    def is_proved(message: Knock, *, nonce: bytes = GREETING.nonce, issuer: PeerId = INVITE.issuer) -> bool:
        return proves(message, nonce=nonce, issuer=issuer, secret=INVITE.secret, verifier=verifier)

    assert is_proved(KNOCK)
    assert not is_proved(msgspec.structs.replace(KNOCK, **change))
    assert not is_proved(KNOCK, nonce=b"h" * 32)
    assert not is_proved(KNOCK, issuer=PeerId(b"j" * 32))


def test_nothing_said_at_the_door_shows_a_secret_when_it_is_printed() -> None:
    """A message may end in a log or a traceback."""
    assert [repr(message) for message in EXAMPLES] == ["Greeting", "Knock", "Welcome", "Guest", "TurnedAway"]
