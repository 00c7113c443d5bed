"""Bans: the admin's word, the newest about each peer, spread to every member and obeyed."""

import random
from collections.abc import Sequence

import msgspec
import pytest

from protocol import bans as bans_module
from protocol.bans import COMPARE_INTERVAL_S, PAGES_MAX, TOLD_AT_ONCE, Bans
from protocol.codec import encode
from protocol.effects import Alarm, BanChanged, KeepBans, MachineEffect, Report, Tell
from protocol.identity import CachingVerifier, Identity
from protocol.ids import PeerId, short_id_of
from protocol.limits import BANS_PER_MESSAGE_MAX
from protocol.messages import BansKnown
from protocol.network import NetworkIdentity
from protocol.statements import Ban, signed
from tests.protocol import samples

NETWORK = NetworkIdentity(name="test", key=b"k" * 32, admin_public_key=samples.ADMIN.public_key)
MEMBERS = tuple(sorted(samples.identity(number).peer_id for number in range(1, 9)))
ME = samples.identity(1).peer_id


def ban(number: int, *, version: int = 10, is_lifted: bool = False, admin: Identity = samples.ADMIN) -> Ban:
    word = Ban(
        author_key=admin.public_key, banned=samples.identity(number).peer_id, version=version, is_lifted=is_lifted
    )
    return signed(word, admin, NETWORK.network_id)


def knowing(*kept: Ban, own: PeerId = ME, seed: int = 1) -> Bans:
    bans = Bans(
        kept, network=NETWORK, own=own, verifier=CachingVerifier(), random=random.Random(seed), now=0.0
    )
    bans.check_invariants()
    return bans


def kinds(effects: Sequence[MachineEffect]) -> list[type]:
    return [type(effect) for effect in effects]


def test_a_ban_is_kept_before_it_is_obeyed_and_spread() -> None:
    """Persisted first: a member never forgets what it told others."""
    bans = knowing()

    effects = bans.given(ban(2), MEMBERS, now=1.0)

    assert kinds(effects) == [KeepBans, Report, *[Tell] * TOLD_AT_ONCE]
    assert effects[:2] == [KeepBans((ban(2),)), Report(BanChanged(ban(2)))]
    told = [effect.peer_id for effect in effects if isinstance(effect, Tell)]
    assert ME not in told and samples.identity(2).peer_id not in told
    assert bans.banned == (samples.identity(2).peer_id,)
    assert bans.refuses(short_id_of(samples.identity(2).peer_id))
    assert bans.given(ban(2), MEMBERS, now=1.0) == []


@pytest.mark.parametrize(
    "forged",
    [
        ban(2, admin=samples.identity(3)),
        msgspec.structs.replace(ban(3), banned=samples.identity(2).peer_id),
        msgspec.structs.replace(ban(2), version=11),
        msgspec.structs.replace(ban(2), author_key=samples.identity(3).public_key),
    ],
    ids=["a member's", "another peer", "another version", "another author"],
)
def test_nobody_but_the_admin_bans(forged: Ban) -> None:
    """DESIGN section 5: a separate admin key signs bans."""
    bans = knowing(forged)

    assert bans.known == ()
    assert bans.given(forged, MEMBERS, now=1.0) == []


def test_the_highest_version_counts_in_any_order() -> None:
    """A lifted ban stays lifted, whichever member tells of the older word later."""
    words = [ban(2, version=10 + step // 2, is_lifted=step % 2 == 1) for step in range(4)]
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        bans = knowing(*(words[number] for number in order))
        assert bans.known == (words[2],), order

    lifted = knowing(ban(2, version=11, is_lifted=True))
    assert lifted.given(words[0], MEMBERS, now=1.0) == []
    assert not lifted.is_banned(samples.identity(2).peer_id)


def test_a_network_without_bans_is_silent() -> None:
    """Nothing is sent, and nothing wakes a peer, before there is a ban."""
    bans = knowing()

    assert bans.next_deadline() == float("inf")
    assert bans.wake(MEMBERS, now=1e9) == []
    assert bans.pages() == []


def test_members_that_know_different_bans_end_alike() -> None:
    """Anti-entropy: a few comparisons each way unite what both know, in answers of bounded size."""
    left = knowing(*(ban(number) for number in range(12, 40)), own=MEMBERS[0])
    right = knowing(*(ban(number) for number in range(30, 60)), ban(12, version=11, is_lifted=True), own=MEMBERS[1])
    names = {MEMBERS[0]: left, MEMBERS[1]: right}
    now = 0.0
    for _ in range(30):
        now += COMPARE_INTERVAL_S
        for own in MEMBERS[:2]:
            for effect in names[own].wake(MEMBERS[:2], now=now):
                deliver(effect, names, sender=own, now=now)

    assert left.known == right.known
    assert len(left.known) == 48
    left.check_invariants()


def deliver(effect: MachineEffect, names: dict[PeerId, Bans], *, sender: PeerId, now: float) -> None:
    """Bring a message to whom it is for, and its answers back."""
    if isinstance(effect, Tell) and effect.peer_id in names:
        assert isinstance(effect.message, BansKnown)
        encode(effect.message)  # it fits one datagram
        for answer in names[effect.peer_id].heard(effect.message, sender, MEMBERS[:2], now=now):
            deliver(answer, names, sender=effect.peer_id, now=now)


def test_equal_knowledge_replies_and_strangers_are_not_answered() -> None:
    """An exchange ends: only a member's comparison that differs is answered."""
    one, same, other = knowing(ban(2)), knowing(ban(2)), knowing(ban(3))
    (asked,) = [effect.message for effect in one.wake(MEMBERS, now=COMPARE_INTERVAL_S) if isinstance(effect, Tell)]
    assert isinstance(asked, BansKnown)

    assert same.heard(asked, ME, MEMBERS, now=1.0) == []
    differing = msgspec.structs.replace(asked, bans=())
    assert kinds(other.heard(differing, ME, MEMBERS, now=1.0)) == [Tell]
    assert other.heard(differing, None, MEMBERS, now=1.0) == []
    assert other.heard(msgspec.structs.replace(differing, is_reply=True), ME, MEMBERS, now=1.0) == []


def test_what_is_kept_and_told_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most ``BANS_MAX`` statements; a further one is an alarm, a newer word about a known peer is taken."""
    many = knowing(*(ban(number) for number in range(2, 60)))
    assert [len(page.bans) for page in many.pages()] == [BANS_PER_MESSAGE_MAX] * PAGES_MAX
    monkeypatch.setattr(bans_module, "BANS_MAX", 20)
    assert len(knowing(*many.known).known) == 20
    bans = knowing(*(ban(number) for number in range(2, 22)))

    effects = bans.given(ban(30), MEMBERS, now=1.0)

    assert [type(effect.event) for effect in effects if isinstance(effect, Report)] == [Alarm]
    assert len(bans.known) == 20
    assert KeepBans in kinds(bans.given(ban(2, version=11, is_lifted=True), MEMBERS, now=1.0))


def test_a_banned_peer_is_told_and_goes_on_hearing_the_others() -> None:
    """Its own processes tell clearly why nobody answers."""
    teller, banned = knowing(ban(2)), knowing(own=samples.identity(2).peer_id)

    word = teller.word_to(short_id_of(samples.identity(2).peer_id), 7, now=1.0)

    assert word is not None and word.receiver_boot == 7
    assert Report(BanChanged(ban(2))) in banned.heard(word, None, (), now=1.0)
    assert banned.own == ban(2)
    assert not banned.refuses(short_id_of(samples.identity(2).peer_id))
    assert sum(teller.word_to(short_id_of(samples.identity(2).peer_id), 7, now=1.0) is not None for _ in range(99)) < 20
