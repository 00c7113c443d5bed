"""Issues the invites of this peer, and lets in who comes with one (DESIGN section 5; ``protocol.doorway``).

A use is burned on disk before the answer that carries the key is written: after a crash between the two the invite
is used up and nobody has got in, never the other way round.
"""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Final

from node.adapters import Disk
from node.clock import steady_s, wall_ms
from node.config import PeerConfig
from node.errors import OperationError
from node.shapes import InviteMade, InviteRow, text_of_time
from protocol.doorway import (
    CONTACTS_MAX,
    NONCE_SIZE_BYTES,
    DoorMessage,
    Greeting,
    Guest,
    Knock,
    Reason,
    TurnedAway,
    Welcome,
)
from protocol.errors import StoreError
from protocol.identity import Verifier
from protocol.ids import PeerId
from protocol.invite_book import INVITES_MAX, InviteBook, IssuedInvite
from protocol.invites import (
    ADDRESSES_MAX,
    INVITE_ID_SIZE_BYTES,
    NETWORK_PREFIX_SIZE_BYTES,
    SECRET_SIZE_BYTES,
    Invite,
    Role,
    encode_invite,
)
from protocol.statements import Address
from protocol.throttle import Throttle

_KNOCKS_PER_S: Final = 20
"""Knocks weighed in a second: each may cost a signature to check and a sync of the disk."""

_log = logging.getLogger("pair.invites")


class Invites:
    """The invites of one peer. Implements ``node.guest.Door``."""

    def __init__(
        self,
        *,
        config: PeerConfig,
        disk: Disk,
        verifier: Verifier,
        addresses: Callable[[], Sequence[Address]],
        contacts: Callable[[], Sequence[Address]],
        is_banned: Callable[[PeerId], bool],
    ) -> None:
        """Begin with the invites that the disk kept.

        Args:
            addresses: Returns where this peer's port can be reached.
            contacts: Returns where living members are, for a newcomer.
        """
        self._config = config
        self._network = config.network
        self._disk = disk
        self._verifier = verifier
        self._addresses = addresses
        self._contacts = contacts
        self._is_banned = is_banned
        self._book = InviteBook(tuple(disk.invites))
        self._knocks = Throttle(_KNOCKS_PER_S)

    # For people

    def create(self, *, role: Role, uses: int, expires_s: int) -> InviteMade:
        """Issue an invite.

        Raises:
            OperationError: ``conflict`` (nobody needs one here), ``quota-exceeded`` (too many are open), ``not-ready``
                (there is nothing to read from), or ``disk-full``: it could not be kept.
        """
        if self._network.open:
            raise OperationError(
                "conflict",
                "an open network has no key to hand over: anybody can join it",
                next_step=f"pair start --network {self._network.name} --open --seed HOST:PORT",
            )
        addresses = tuple(self._addresses())[:ADDRESSES_MAX]
        apis = list(self._disk.apis_here())[:CONTACTS_MAX] if role == "reader" else []
        if role == "reader" and not apis:
            raise OperationError("not-ready", "this peer has no API to read from", next_step="wait and try again")
        issued = IssuedInvite(
            invite_id=os.urandom(INVITE_ID_SIZE_BYTES),
            role=role,
            uses=uses,
            expires_ms=wall_ms() // 1000 * 1000 + expires_s * 1000,
            secret=os.urandom(SECRET_SIZE_BYTES),
        )
        assert issued.secret is not None
        invite = Invite(
            role=role,
            uses=uses,
            expires_s=issued.expires_ms // 1000,
            network_prefix=self._network.network_id[:NETWORK_PREFIX_SIZE_BYTES],
            network_name=self._network.name,
            issuer=self._disk.identity.peer_id,
            invite_id=issued.invite_id,
            secret=issued.secret,
            addresses=addresses,
        )
        self._keep_new(issued)
        return InviteMade(
            invite=encode_invite(invite),
            id=issued.invite_id.hex(),
            role=role,
            uses=uses,
            expires=text_of_time(issued.expires_ms),
            issuer=invite.issuer.hex(),
            addresses=[str(address) for address in addresses],
            apis=apis,
        )

    def listing(self) -> list[InviteRow]:
        """Return the invites that have not expired, oldest first; no secrets."""
        return [self._row(invite) for invite in self._book.current(now_ms=wall_ms())]

    def revoke(self, prefix: str) -> InviteRow:
        """Let nobody in any more with the invite whose id starts with ``prefix``; one that is closed stays so.

        Raises:
            OperationError: ``not-found``, ``bad-request`` (several start so), or ``disk-full``: it was not kept.
        """
        found = self._book.find(prefix.lower(), now_ms=wall_ms()) if prefix else []
        if not found:
            raise OperationError(
                "not-found", f"this peer knows no invite {prefix!r}", next_step="pair invite list shows them"
            )
        if len(found) > 1:
            raise OperationError("bad-request", f"several invites start with {prefix!r}", next_step="give more digits")
        if found[0].state == "open":
            found[0].close("revoked")
            self._save()
        return self._row(found[0])

    # node.guest.Door

    @property
    def is_open(self) -> bool:
        """Whether an invite of this peer has not expired; a used one still has somebody who may come with it."""
        return bool(self._book.current(now_ms=wall_ms()))

    def greet(self) -> Greeting:
        """Return the first word to a newcomer."""
        return Greeting(nonce=os.urandom(NONCE_SIZE_BYTES), wall_ms=wall_ms())

    def answer(self, message: Knock, *, nonce: bytes) -> DoorMessage:
        """Weigh a newcomer's word; who is let in gets the network key, or a token of the read level."""
        if not self._knocks.allows(steady_s()):
            return _turned_away("busy")
        if self._is_banned(message.newcomer):
            return _turned_away("banned")
        outcome = self._book.weigh(
            message, nonce=nonce, issuer=self._disk.identity.peer_id, verifier=self._verifier, now_ms=wall_ms()
        )
        try:
            if outcome == "wrong-proof" or isinstance(outcome, IssuedInvite):
                self._disk.keep_invites(self._book.current(now_ms=wall_ms()))
            if isinstance(outcome, IssuedInvite):
                return self._admit(outcome, message)
        except StoreError as error:
            _log.error("a use of an invite could not be burned, so nobody was let in: %s", error)
            return _turned_away("failed")
        _log.warning("a newcomer with the invite %s was turned away: %s", message.invite_id.hex(), outcome)
        return _turned_away(outcome)

    def _admit(self, invite: IssuedInvite, message: Knock) -> DoorMessage:
        answer = self._welcome() if invite.role == "member" else self._guest()
        _log.info("the invite %s let in %s as %s", invite.invite_id.hex(), message.newcomer.hex()[:12], invite.role)
        return answer

    def _welcome(self) -> Welcome:
        network = self._network
        return Welcome(
            name=network.name,
            key=network.key,
            admin_public_key=network.admin_public_key,
            mode=network.mode,
            open=network.open,
            contacts=tuple(self._contacts())[:CONTACTS_MAX],
            profile=self._config.profile,
            k=self._config.k,
        )

    def _guest(self) -> Guest:
        return Guest(
            name=self._network.name,
            network_id=self._network.network_id,
            token=self._disk.tokens["read"],
            apis=tuple(self._disk.apis_here())[:CONTACTS_MAX],
        )

    def _keep_new(self, issued: IssuedInvite) -> None:
        if not self._book.add(issued, now_ms=wall_ms()):
            raise OperationError(
                "quota-exceeded",
                f"this peer has {INVITES_MAX} invites that have not expired",
                next_step="wait until one expires, invite through another peer, or invite several at once with --uses",
            )
        try:
            self._save()
        except OperationError:
            self._book.discard(issued.invite_id)
            raise

    def _save(self) -> None:
        try:
            self._disk.keep_invites(self._book.current(now_ms=wall_ms()))
        except StoreError as error:
            problem = f"the invites could not be kept: {error}"
            raise OperationError("disk-full", problem, next_step=error.next_step) from error

    def _row(self, invite: IssuedInvite) -> InviteRow:
        return InviteRow(
            id=invite.invite_id.hex(),
            role=invite.role,
            state=invite.state,
            uses=invite.uses,
            used_by=[peer_id.hex() for peer_id in invite.used_by],
            expires=text_of_time(invite.expires_ms),
            issuer=self._disk.identity.peer_id.hex(),
        )


def _turned_away(reason: Reason) -> TurnedAway:
    return TurnedAway(reason=reason, wall_ms=wall_ms())
