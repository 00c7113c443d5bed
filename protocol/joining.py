"""Finding the first peers, and letting newcomers in (DESIGN section 6, "Joining").

A newcomer asks every contact at once: seeds, addresses from zeroconf, an invite. Any peer can be asked: it tells
its boot, and asked again for that boot it welcomes the newcomer with its own descriptor and network time, and hands
it to the leader, who introduces it to everybody; without a leader the lowest living id does. The newcomer asks its
first contact for the member table (``members.anti_entropy``).

Contacts stay: one that belongs to no living member is asked again, ever less often, so that islands that know
nothing of each other's members meet through a common seed.
"""

import math
import random
from dataclasses import dataclass, field
from typing import Final

from protocol.config import ProtocolConfig
from protocol.effects import MachineEffect, TellAddress
from protocol.ids import ANY_RECEIVER, ShortId
from protocol.messages import JoinReply, JoinRequest
from protocol.statements import Address, Descriptor

_CONTACTS_MAX: Final = 256
_NONCES_MAX: Final = 1024
"""Requests whose reply is still believed."""

_ASKED_WHO_MAX: Final = 256
"""Strangers that a newcomer asked who they are; it asks at most 200 in a second."""

_ASKED_AT_ONCE: Final = 32
"""Requests in one burst; the rest follow a moment later."""

_BURST_PAUSE_S: Final = 0.02


@dataclass(slots=True)
class _Contact:
    next_try: float
    pause_s: float
    is_hint: bool
    """Whether anybody on the local network may have said so; then it makes room for later ones."""


@dataclass(slots=True)
class Joining:
    """Asks contacts until each belongs to a living member.

    Invariants:
        1. At most ``_CONTACTS_MAX`` contacts, ``_NONCES_MAX`` nonces and ``_ASKED_WHO_MAX`` strangers are kept.
        2. ``_due`` is the first of the contacts' next tries.
    """

    config: ProtocolConfig
    random: random.Random
    _contacts: dict[Address, _Contact] = field(default_factory=dict)
    _nonces: dict[int, float] = field(default_factory=dict)
    _asked_who: dict[ShortId, None] = field(default_factory=dict)
    _due: float = math.inf

    def found(self, contacts: tuple[Address, ...], *, own: Descriptor, now: float, are_hints: bool = False) -> None:
        """Take addresses that somebody told us; they are asked at the next ``wake``.

        Where there are too many, the oldest hint goes: a flood of false ones must not keep a true one out.
        """
        for address in contacts:
            known = self._contacts.get(address)
            if address in (own.address, own.api) or (known is None and not self._has_room()):
                continue
            if known is None or known.next_try > now + self.config.join_retry_s:
                is_hint = are_hints and (known is None or known.is_hint)
                self._contacts[address] = _Contact(next_try=now, pause_s=self.config.join_retry_s, is_hint=is_hint)
                self._due = now

    def ask(
        self, address: Address, *, own: Descriptor, now: float, receiver: ShortId = ANY_RECEIVER, boot: int = 0
    ) -> MachineEffect:
        """Introduce ourselves to whoever answers at ``address``, or to the one boot of one peer there."""
        nonce = self.random.getrandbits(63)
        self._nonces[nonce] = now
        if len(self._nonces) > _NONCES_MAX:
            del self._nonces[next(iter(self._nonces))]
        return TellAddress(address, JoinRequest(receiver_boot=boot, descriptor=own, nonce=nonce), receiver)

    def is_answer(self, reply: JoinReply) -> bool:
        """Return whether ``reply`` answers a request of ours; each nonce is believed once."""
        return self._nonces.pop(reply.nonce, None) is not None

    def wake(self, *, own: Descriptor, members: frozenset[Address], now: float) -> list[MachineEffect]:
        """Ask the contacts whose time has come and that are no living member's address."""
        effects: list[MachineEffect] = []
        for address, contact in self._contacts.items():
            if address in members:
                contact.pause_s = self.config.join_retry_max_s  # all of them at once: each look takes the whole table
            elif contact.next_try > now:
                continue
            elif len(effects) >= _ASKED_AT_ONCE:
                contact.next_try = now + _BURST_PAUSE_S
                continue
            else:
                effects.append(self.ask(address, own=own, now=now))
            contact.next_try = now + contact.pause_s
            contact.pause_s = min(2 * contact.pause_s, self.config.join_retry_max_s)
        self._due = self._first_try()
        return effects

    def asked_who(self, stranger: ShortId) -> None:
        """Note that this peer, new itself, asked somebody who it is: a member that its table does not have yet."""
        self._asked_who[stranger] = None
        if len(self._asked_who) > _ASKED_WHO_MAX:
            del self._asked_who[next(iter(self._asked_who))]

    def was_asked_who(self, newcomer: ShortId) -> bool:
        """Return, once, whether somebody introduces itself because this peer asked: all others know it."""
        return self._asked_who.pop(newcomer, ()) is None

    def next_deadline(self) -> float:
        """Return when ``wake`` wants to be called; infinity without contacts."""
        return self._due

    def check_invariants(self) -> None:
        """Assert what the class docstring promises."""
        assert len(self._contacts) <= _CONTACTS_MAX
        assert len(self._nonces) <= _NONCES_MAX
        assert len(self._asked_who) <= _ASKED_WHO_MAX
        assert self._due == self._first_try()

    def _has_room(self) -> bool:
        """Return whether there is room for another contact, after making it if that is possible."""
        if len(self._contacts) < _CONTACTS_MAX:
            return True
        oldest = next((address for address, contact in self._contacts.items() if contact.is_hint), None)
        if oldest is None:
            return False
        del self._contacts[oldest]
        return True

    def _first_try(self) -> float:
        return min((contact.next_try for contact in self._contacts.values()), default=math.inf)
