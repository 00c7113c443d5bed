"""The issuer's book of invites: which are open, and what becomes of a knock. Pure: time and entropy are arguments.

An invite leaves the book when it expires. Until then one that is used up, revoked or blocked stays, without its
secret, so that whoever comes with it hears why it does not work.
"""

from typing import Final, Literal, TypeAlias

import msgspec

from protocol.doorway import Knock, Reason, proves
from protocol.identity import Verifier
from protocol.ids import PeerId
from protocol.invites import Role

INVITES_MAX: Final = 64
"""Invites of one issuer that have not expired."""

WRONG_PROOFS_MAX: Final = 5
"""After so many an invite is blocked: its id is no secret to whoever saw a part of it, and 16 bytes are not guessed."""

InviteState: TypeAlias = Literal["open", "used", "revoked", "blocked"]
_REASON_OF: Final[dict[InviteState, Reason]] = {"used": "used", "revoked": "revoked", "blocked": "blocked"}


class IssuedInvite(msgspec.Struct, kw_only=True):
    """One invite as its issuer keeps it."""

    invite_id: bytes
    role: Role
    uses: int
    expires_ms: int
    """Milliseconds since 1970, by the issuer's clock."""

    secret: bytes | None
    """Only while the invite is open."""

    state: InviteState = "open"
    wrong_proofs: int = 0
    used_by: tuple[PeerId, ...] = ()
    """Whom it let in, in order."""

    def __repr__(self) -> str:
        return f"IssuedInvite({self.invite_id.hex()}, {self.state})"

    def close(self, state: InviteState) -> None:
        """End its use; what is not needed any more is forgotten."""
        self.state = state
        self.secret = None


class InviteBook:
    """The invites of one issuer.

    Invariants:
        1. At most ``INVITES_MAX`` invites, none of them expired at the time of the last call.
        2. An invite has its secret exactly while it is open, and is open exactly while it has uses left.
    """

    def __init__(self, kept: tuple[IssuedInvite, ...] = ()) -> None:
        """Begin with the invites that were kept."""
        self._invites: dict[bytes, IssuedInvite] = {invite.invite_id: invite for invite in kept[:INVITES_MAX]}

    def current(self, *, now_ms: int) -> tuple[IssuedInvite, ...]:
        """Return the invites that have not expired, oldest first."""
        for invite in [invite for invite in self._invites.values() if invite.expires_ms <= now_ms]:
            del self._invites[invite.invite_id]
        return tuple(self._invites.values())

    def add(self, invite: IssuedInvite, *, now_ms: int) -> bool:
        """Take a new open invite; return whether there was room for it."""
        assert invite.secret is not None and invite.state == "open", "a new invite is open"
        if len(self.current(now_ms=now_ms)) >= INVITES_MAX:
            return False
        self._invites[invite.invite_id] = invite
        return True

    def discard(self, invite_id: bytes) -> None:
        """Take back an invite that could not be kept."""
        self._invites.pop(invite_id, None)

    def find(self, prefix: str, *, now_ms: int) -> list[IssuedInvite]:
        """Return the invites whose id, in hexadecimal digits, starts so."""
        return [invite for invite in self.current(now_ms=now_ms) if invite.invite_id.hex().startswith(prefix)]

    def weigh(
        self, message: Knock, *, nonce: bytes, issuer: PeerId, verifier: Verifier, now_ms: int
    ) -> IssuedInvite | Reason:
        """Count a knock; return the invite that lets the newcomer in, one use of it burned, or why none does.

        The caller makes the burning durable before it answers.
        """
        invite = self._invites.get(message.invite_id)
        if invite is None:
            return "unknown"
        if invite.expires_ms <= now_ms:
            return "expired"
        if invite.secret is None:
            return _REASON_OF[invite.state]
        if not proves(message, nonce=nonce, issuer=issuer, secret=invite.secret, verifier=verifier):
            invite.wrong_proofs += 1
            if invite.wrong_proofs >= WRONG_PROOFS_MAX:
                invite.close("blocked")
            return "wrong-proof"
        invite.used_by = (*invite.used_by, message.newcomer)
        if len(invite.used_by) >= invite.uses:
            invite.close("used")
        return invite

    def check_invariants(self) -> None:
        """Assert the invariants of the class."""
        assert len(self._invites) <= INVITES_MAX
        for invite in self._invites.values():
            assert (invite.secret is not None) == (invite.state == "open")
            assert len(invite.used_by) <= invite.uses
