"""Bans that the admin gives through this peer: it signs them with the admin's key, where this machine has it."""

from collections.abc import Callable
from typing import Final

from node.adapters import Disk
from node.clock import wall_ms
from node.errors import OperationError
from node.shapes import BanRow, text_of_time
from protocol.core import Core
from protocol.effects import BanGiven
from protocol.errors import EnvironmentFault, StoreError
from protocol.identity import Identity
from protocol.ids import PEER_ID_SIZE_BYTES, PeerId
from protocol.network import NetworkIdentity
from protocol.statements import Ban, signed

BANNED_TEXT: Final = "the admin banned this peer from the network: no member hears it"
BANNED_NEXT_STEP: Final = "ask another peer; the admin can lift it where the admin's key is: pair ban --lift PEER"

_PREFIX_DIGITS_MIN: Final = 6
_HEX_DIGITS: Final = "0123456789abcdef"


class Bans:
    """Implements ``node.service.BanService``."""

    def __init__(
        self, *, core: Core, network: NetworkIdentity, disk: Disk, ask_core: Callable[[BanGiven], None]
    ) -> None:
        self._core = core
        self._network = network
        self._disk = disk
        self._ask_core = ask_core

    def listing(self) -> list[BanRow]:
        """Return who is banned."""
        return [_row(ban, self._name_of(PeerId(ban.banned))) for ban in self._core.bans.known if not ban.is_lifted]

    def ban(self, who: str) -> BanRow:
        """Ban a peer: a member by name, id or start of its id, anybody else by the whole id.

        Raises:
            OperationError: ``not-found``, ``bad-request`` (it may be several), ``conflict`` (this very peer, or the
                disk is in the way), ``admin-key-missing`` or ``quota-exceeded``.
        """
        peer_id = self._peer_named(who)
        if peer_id == self._core.descriptor.peer_id:
            raise OperationError("conflict", "a peer does not ban itself", next_step="ask another: --peer NAME")
        return self._say(peer_id, is_lifted=False)

    def lift(self, who: str) -> BanRow:
        """Let a banned peer be a member again; one that is not banned stays as it is.

        Raises:
            OperationError: As ``ban``.
        """
        return self._say(self._peer_named(who), is_lifted=True)

    def _say(self, peer_id: PeerId, *, is_lifted: bool) -> BanRow:
        known, name = self._core.bans.find(peer_id), self._name_of(peer_id)
        if known is None and is_lifted:
            raise OperationError("not-found", "that peer is not banned", next_step="pair ban --list shows who is")
        if known is not None and known.is_lifted == is_lifted:
            return _row(known, name)
        version = max(wall_ms(), known.version + 1 if known is not None else 0)
        admin = self._admin()
        ban = Ban(author_key=admin.public_key, banned=peer_id, version=version, is_lifted=is_lifted)
        self._ask_core(BanGiven(signed(ban, admin, self._network.network_id)))
        taken = self._core.bans.find(peer_id)
        if taken is None or taken.version != version:
            raise OperationError(
                "quota-exceeded", "this network has as many bans as it can have", next_step="see this peer's log"
            )
        return _row(taken, name)

    def _admin(self) -> Identity:
        try:
            return self._disk.admin()
        except StoreError as error:
            raise OperationError(
                "admin-key-missing",
                f"the admin's key is not on this machine: {error.cause}",
                next_step="ask a peer of the machine where the network was founded: --peer NAME|URL",
            ) from error
        except EnvironmentFault as error:
            raise OperationError("conflict", error.cause, next_step=error.next_step) from error

    def _peer_named(self, who: str) -> PeerId:
        text = who.lower()
        is_hexadecimal = all(digit in _HEX_DIGITS for digit in text)
        if is_hexadecimal and len(text) == 2 * PEER_ID_SIZE_BYTES:
            return PeerId(bytes.fromhex(text))
        names = {member.peer_id: member.descriptor.name for member in self._core.membership.table}
        found = [peer_id for peer_id, name in names.items() if name == who]
        if not found and is_hexadecimal and len(text) >= _PREFIX_DIGITS_MIN:
            known = dict.fromkeys([*names, *self._core.bans.banned])
            found = [peer_id for peer_id in known if peer_id.hex().startswith(text)]
        if not found:
            raise OperationError(
                "not-found",
                f"no peer is known as {who!r} here",
                next_step="see pair members; whoever is no member is banned by the whole id",
            )
        if len(found) > 1:
            ids = ", ".join(peer_id.hex()[:12] for peer_id in found)
            raise OperationError("bad-request", f"{who!r} names several peers: {ids}", next_step="give an id")
        return found[0]

    def _name_of(self, peer_id: PeerId) -> str | None:
        member = self._core.membership.table.find(peer_id)
        return member.descriptor.name if member is not None else None


def _row(ban: Ban, name: str | None) -> BanRow:
    return BanRow(
        id=ban.banned.hex(),
        name=name,
        state="lifted" if ban.is_lifted else "banned",
        since=text_of_time(ban.version),
    )
