"""Invites as text: golden, short, and with precise words about what is wrong with one."""

import base64
import random
import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import invites
from protocol.errors import InviteError
from protocol.ids import NetworkId, PeerId
from protocol.invites import ADDRESSES_MAX, TEXT_SIZE_MAX, Invite, decode_invite, encode_invite
from protocol.statements import Address

INVITE = Invite(
    role="member",
    uses=1,
    expires_s=1_800_000_000,
    network_prefix=b"n" * 16,
    network_name="local",
    issuer=PeerId(b"i" * 32),
    invite_id=b"abcdef",
    secret=b"s" * 16,
    addresses=(Address("192.0.2.1", 7400),),
)
GOLDEN = (
    "pair://aeaqc22j2iag43tonzxg43tonzxg43tonzxg42ljnfuws2ljnfuws2ljnfuws2ljnfuws2ljnfuws2ljnfuws2ljmfrggzdfmzzxg43"
    "tonzxg43tonzxg43tonzqk3dpmnqwybgaaabachhi-73aa"
)
LARGEST = msgspec.structs.replace(
    INVITE, role="reader", uses=255, network_name="n" * 63, addresses=(Address("2001:db8::1", 65535),) * ADDRESSES_MAX
)


def test_text_is_the_one_that_older_peers_read() -> None:
    """Golden text: an invite made today is read tomorrow."""
    assert encode_invite(INVITE) == GOLDEN


@pytest.mark.parametrize("invite", [INVITE, LARGEST], ids=["usual", "largest"])
def test_decode_undoes_encode_in_any_case_and_wrapped(invite: Invite) -> None:
    """Mail breaks lines, and the smallest QR codes have capitals only."""
    text = encode_invite(invite)
    lines = "\r\n ".join(text[start : start + 40] for start in range(0, len(text), 40))

    assert decode_invite(text) == decode_invite(text.upper()) == decode_invite(f" {lines}\n") == invite
    assert len(text) <= TEXT_SIZE_MAX


@pytest.mark.parametrize("position", range(7, len(GOLDEN)))
def test_every_wrong_character_is_found(position: int) -> None:
    """The check characters tell a mistyped invite from a whole one, before anybody is asked."""
    wrong = "a" if GOLDEN[position] != "a" else "b"

    with pytest.raises(InviteError, match=r"character|end"):
        decode_invite(GOLDEN[:position] + wrong + GOLDEN[position + 1 :])


@pytest.mark.parametrize("size", range(7, len(GOLDEN)))
def test_every_cut_is_said_to_be_one(size: int) -> None:
    """An invite that was copied in part says so."""
    with pytest.raises(InviteError, match="cut off") as failure:
        decode_invite(GOLDEN[:size])

    assert "copy it again" in failure.value.next_step


def of_bytes(data: bytes) -> str:
    """The text of any bytes, with the right check characters."""
    body = base64.b32encode(data).decode().rstrip("=").lower()
    return f"pair://{body}-{invites._check_of(body)}"


def raw_of(text: str) -> bytes:
    return invites._data_in(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no invite"),
        ("https://example.org/", "no invite"),
        ("pair://", "cut off"),
        (GOLDEN + "aa", "behind the end"),
        (GOLDEN.replace("z", "0"), "contains '0'"),
        (GOLDEN[:20] + "\x1b[2J" + GOLDEN[20:], "contains"),
        ("pair://" + "a" * 5000, "5007 characters"),
        (of_bytes(b"\x02" + raw_of(GOLDEN)[1:]), "format 2"),
        (of_bytes(b"\x01\x03" + raw_of(GOLDEN)[2:]), "no valid value"),
        (of_bytes(b"\x01\x01\x00" + raw_of(GOLDEN)[3:]), "no valid value"),
        (of_bytes(raw_of(GOLDEN)[:40]), "malformed"),
        (of_bytes(raw_of(GOLDEN)[:-1]), "cut off or of no known kind"),
        (of_bytes(raw_of(GOLDEN)[:-7]), "no way to the issuer"),
        (of_bytes(raw_of(GOLDEN) + b"\x04\x7f\x00\x00\x01\x00\x00"), "no way to the issuer"),
        (of_bytes(raw_of(GOLDEN).replace(b"local", b"lo\x1bal")), "no valid value"),
        (of_bytes(raw_of(GOLDEN).replace(b"local", b"lo\xffal")), "malformed"),
    ],
)
def test_each_fault_has_its_words_and_a_next_step(text: str, words: str) -> None:
    """Errors tell the cause and what to do."""
    with pytest.raises(InviteError, match=words) as failure:
        decode_invite(text)

    assert failure.value.next_step


def test_no_mutation_is_taken_for_an_invite() -> None:
    """A thousand mutated invites: each is refused, none by an accident."""
    randomness = random.Random(4)
    characters = string.ascii_lowercase + string.digits + "-:/=\x00é"
    for _ in range(1000):
        text = list(GOLDEN)
        for _ in range(randomness.randint(1, 3)):
            where = randomness.randrange(len(text))
            text[where : where + randomness.randint(0, 2)] = randomness.choice(characters)
        mutated = "".join(text)
        if mutated == GOLDEN:
            continue
        with pytest.raises(InviteError):
            decode_invite(mutated)


@given(st.one_of(st.text(), st.binary(max_size=300).map(of_bytes), st.text().map(lambda text: f"pair://{text}-aaaa")))
def test_any_text_is_an_invite_or_an_invite_error(text: str) -> None:
    """``decode_invite`` raises ``InviteError`` and nothing else; what it accepts is what it would write."""
    try:
        invite = decode_invite(text)
    except InviteError:
        return
    assert encode_invite(invite) == "".join(text.split()).lower()


def test_an_invite_names_one_network_and_never_shows_its_secret() -> None:
    """It may end in a log or a traceback."""
    assert INVITE.is_for(NetworkId(b"n" * 32))
    assert not INVITE.is_for(NetworkId(b"m" * 32))
    assert repr(INVITE) == "Invite(616263646566)"
