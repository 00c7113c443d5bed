"""The sealed datagram: who can open it, and how often."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import limits
from protocol.envelope import Opener, ReplayWindow, Sealer
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.ids import ANY_RECEIVER, short_id_of
from protocol.network import NetworkIdentity
from tests.protocol.samples import NETWORK, identity

ALICE, BOB, CAROL = identity(1).peer_id, identity(2).peer_id, identity(3).peer_id


def sealer(*, network: NetworkIdentity = NETWORK, boot: int = 7) -> Sealer:
    return Sealer(network=network, peer_id=ALICE, boot=boot)


def opener() -> Opener:
    return Opener(network=NETWORK, peer_id=BOB)


def test_receiver_opens_what_was_sealed_to_it() -> None:
    """The plaintext, the sender and its boot come out (DESIGN section 4)."""
    opened = opener().open(sealer().seal(b"hello", short_id_of(BOB)))

    assert (opened.plaintext, opened.sender, opened.sender_boot) == (b"hello", short_id_of(ALICE), 7)


def test_largest_plaintext_fills_a_datagram_exactly() -> None:
    """Nothing is ever fragmented: 1,232 bytes at most."""
    datagram = sealer().seal(bytes(limits.MESSAGE_SIZE_MAX_BYTES), short_id_of(BOB))

    assert len(datagram) == limits.DATAGRAM_SIZE_MAX_BYTES
    with pytest.raises(LocalProtocolError):
        sealer().seal(bytes(limits.MESSAGE_SIZE_MAX_BYTES + 1), short_id_of(BOB))


def test_datagram_to_another_peer_does_not_open() -> None:
    """The receiver's short id is authenticated."""
    with pytest.raises(RemoteProtocolError, match="seal"):
        opener().open(sealer().seal(b"hello", short_id_of(CAROL)))


def test_discovery_datagram_opens_at_any_peer() -> None:
    """A newcomer knows an address but not who answers there."""
    assert opener().open(sealer().seal(b"hello", ANY_RECEIVER)).plaintext == b"hello"


@pytest.mark.parametrize(
    "other",
    [
        NetworkIdentity(name="test", key=b"x" * 32, admin_public_key=b"a" * 32),
        NetworkIdentity(name="test", key=b"k" * 32, admin_public_key=b"b" * 32),
        NetworkIdentity(name="test", key=b"k" * 32, admin_public_key=b"a" * 32, mode="quorum"),
        NetworkIdentity(name="test", key=b"k" * 32, admin_public_key=b"a" * 32, open=True),
    ],
)
def test_datagram_of_another_network_does_not_open(other: NetworkIdentity) -> None:
    """Key, admin and mode are all in the network id, and that in every derived key (DESIGN section 5)."""
    with pytest.raises(RemoteProtocolError, match="seal"):
        opener().open(sealer(network=other).seal(b"hello", short_id_of(BOB)))


def test_same_datagram_opens_once() -> None:
    """A replay is refused."""
    bob = opener()
    datagram = sealer().seal(b"hello", short_id_of(BOB))
    bob.open(datagram)

    with pytest.raises(RemoteProtocolError, match="replay"):
        bob.open(datagram)


def test_earlier_boot_is_refused_once_a_later_one_was_seen() -> None:
    """What an earlier run of the sender said is a replay."""
    bob = opener()
    old = sealer(boot=7).seal(b"old", short_id_of(BOB))
    bob.open(sealer(boot=8).seal(b"new", short_id_of(BOB)))

    with pytest.raises(RemoteProtocolError, match="older boot"):
        bob.open(old)


def test_own_datagram_is_refused() -> None:
    """A peer whose datagrams come back (a loop, a contact that is itself) does not talk to itself."""
    alice = Opener(network=NETWORK, peer_id=ALICE)

    with pytest.raises(RemoteProtocolError, match="own"):
        alice.open(sealer().seal(b"hello", ANY_RECEIVER))


def test_forged_datagram_does_not_move_the_window() -> None:
    """The window moves only after the tag was checked: a forged counter cannot lock a sender out."""
    bob, alice = opener(), sealer()
    forged = bytearray(alice.seal(b"hello", short_id_of(BOB)))
    forged[28:36] = (2**64 - 1).to_bytes(8, "big")
    with pytest.raises(RemoteProtocolError, match="seal"):
        bob.open(bytes(forged))

    assert bob.open(alice.seal(b"again", short_id_of(BOB))).plaintext == b"again"


def test_every_flipped_bit_is_noticed() -> None:
    """Header and ciphertext are both authenticated."""
    datagram = sealer().seal(b"hello", short_id_of(BOB))
    for bit in range(8 * len(datagram)):
        flipped = bytearray(datagram)
        flipped[bit // 8] ^= 1 << (bit % 8)
        with pytest.raises(RemoteProtocolError):
            opener().open(bytes(flipped))


@given(st.binary(max_size=1500))
def test_random_bytes_raise_the_one_documented_error(data: bytes) -> None:
    """Nothing that a stranger sends raises anything else."""
    with pytest.raises(RemoteProtocolError):
        opener().open(data)


def test_kept_senders_are_bounded_and_strangers_are_not_kept() -> None:
    """A flood of invented senders takes no memory."""
    bob = opener()
    entropy = random.Random(1)
    for _ in range(200):
        header = bytes([0xA1, 0, 0, 0]) + entropy.randbytes(60)
        with pytest.raises(RemoteProtocolError):
            bob.open(header)

    assert not bob.is_known(header)
    good = sealer().seal(b"hello", short_id_of(BOB))
    bob.open(good)
    assert bob.is_known(good)


@given(st.lists(st.integers(min_value=0, max_value=4000), max_size=300))
def test_window_accepts_each_counter_at_most_once(counters: list[int]) -> None:
    """Against the plain definition: new, and not more than the window behind the highest."""
    window = ReplayWindow()
    seen: list[int] = []
    for counter in counters:
        expected = counter not in seen and counter > max(seen, default=-1) - limits.REPLAY_WINDOW_SIZE
        assert window.is_new(counter) == expected
        if expected:
            window.accept(counter)
            seen.append(counter)


def test_window_is_exactly_as_wide_as_it_says() -> None:
    """The last counter inside is accepted, the first outside is not."""
    window = ReplayWindow()
    window.accept(limits.REPLAY_WINDOW_SIZE)

    assert window.is_new(1)
    assert not window.is_new(0)
