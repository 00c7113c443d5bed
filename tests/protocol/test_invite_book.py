"""The issuer's book: each use counted once, a few wrong proofs, nothing kept for longer than needed."""

import msgspec
import pytest

from protocol.doorway import Greeting, Knock, knock
from protocol.identity import CachingVerifier, Identity
from protocol.invite_book import INVITES_MAX, WRONG_PROOFS_MAX, InviteBook, IssuedInvite
from protocol.invites import Invite
from tests.protocol.test_invites import INVITE

NONCE = b"g" * 32
EXPIRES_MS = INVITE.expires_s * 1000
BEFORE_MS = EXPIRES_MS - 1


def issued(invite: Invite = INVITE) -> IssuedInvite:
    return IssuedInvite(
        invite_id=invite.invite_id, role=invite.role, uses=invite.uses, expires_ms=EXPIRES_MS, secret=invite.secret
    )


def book_with(*invites: IssuedInvite) -> InviteBook:
    book = InviteBook()
    for invite in invites:
        assert book.add(invite, now_ms=BEFORE_MS)
    return book


def knock_of(number: int, invite: Invite = INVITE) -> Knock:
    return knock(invite, Greeting(nonce=NONCE, wall_ms=0), Identity(bytes([number]) * 32))


def weigh(book: InviteBook, message: Knock, *, now_ms: int = BEFORE_MS) -> object:
    outcome = book.weigh(message, nonce=NONCE, issuer=INVITE.issuer, verifier=CachingVerifier(), now_ms=now_ms)
    book.check_invariants()
    return outcome


def test_an_invite_lets_in_as_many_as_it_says_and_forgets_its_secret() -> None:
    """The secret is single-use, or good for N."""
    twice = msgspec.structs.replace(INVITE, uses=2)
    invite = issued(twice)
    book = book_with(invite)

    outcomes = [weigh(book, knock_of(number, twice)) for number in (1, 2, 3)]

    assert outcomes == [invite, invite, "used"]
    assert invite.secret is None
    assert [peer.hex()[:4] for peer in invite.used_by] == [knock_of(n).newcomer.hex()[:4] for n in (1, 2)]


def test_an_invite_is_over_at_its_time_and_then_leaves_the_book() -> None:
    """Until then whoever comes with it hears why it does not work."""
    book = book_with(issued())

    assert weigh(book, knock_of(1), now_ms=EXPIRES_MS) == "expired"
    assert book.current(now_ms=EXPIRES_MS) == ()
    assert weigh(book, knock_of(1), now_ms=EXPIRES_MS) == "unknown"


def test_a_revoked_invite_says_so_and_has_no_secret() -> None:
    """``pair invite revoke ID``."""
    invite = issued()
    book = book_with(invite)

    (found,) = book.find("6162", now_ms=BEFORE_MS)
    found.close("revoked")

    assert weigh(book, knock_of(1)) == "revoked"
    assert invite.secret is None


def test_a_few_wrong_proofs_block_an_invite() -> None:
    """Its id is no secret to whoever saw a part of it; the secret is not guessed."""
    book = book_with(issued())
    wrong = msgspec.structs.replace(knock_of(1), proof=bytes(32))

    outcomes = [weigh(book, wrong) for _ in range(WRONG_PROOFS_MAX)]

    assert outcomes == ["wrong-proof"] * WRONG_PROOFS_MAX
    assert weigh(book, knock_of(1)) == "blocked"


def test_the_book_is_bounded_and_expired_invites_make_room() -> None:
    """At most ``INVITES_MAX`` that have not expired."""
    many = [
        issued(msgspec.structs.replace(INVITE, invite_id=number.to_bytes(6, "big"))) for number in range(INVITES_MAX)
    ]
    book = book_with(*many)

    assert not book.add(issued(), now_ms=BEFORE_MS)
    assert book.add(msgspec.structs.replace(issued(), expires_ms=EXPIRES_MS * 2), now_ms=EXPIRES_MS)
    assert len(book.current(now_ms=EXPIRES_MS)) == 1


@pytest.mark.parametrize("state", ["open", "used", "revoked"])
def test_kept_invites_go_on_as_they_were(state: str) -> None:
    """What is read from disk after a crash burns no use twice."""
    invite = issued()
    if state == "used":
        weigh(book_with(invite), knock_of(1))
    elif state == "revoked":
        invite.close("revoked")
    kept = msgspec.json.decode(msgspec.json.encode((invite,)), type=tuple[IssuedInvite, ...])

    outcome = weigh(InviteBook(kept), knock_of(2))

    assert outcome == (kept[0] if state == "open" else state)
    assert "secret" not in repr(invite)
