"""The local peer: what it alone can sign, and how it checks what others signed."""

import random
from typing import Literal, TypeAlias

import msgspec

from protocol.config import ProtocolConfig
from protocol.identity import Identity, Verifier
from protocol.ids import NetworkId, PeerId
from protocol.statements import Accusation, Address, Descriptor, Leave, Statement, signed

Kind: TypeAlias = Literal["silent", "refused"]
"""What an accuser saw: no answer, or an operating system that says nobody listens."""


class LocalPeer:
    """Identity, own descriptor, and the means that all parts of the machine share.

    Invariants:
        1. ``descriptor`` is signed by ``peer_id``; its boot never changes and its incarnation never falls.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        network_id: NetworkId,
        descriptor: Descriptor,
        config: ProtocolConfig,
        verifier: Verifier,
        random: random.Random,
    ) -> None:
        assert descriptor.peer_id == identity.peer_id, "a peer describes itself"
        self.peer_id: PeerId = identity.peer_id
        self.descriptor = descriptor
        self.config = config
        self.random = random
        self._identity = identity
        self._network_id = network_id
        self._verifier = verifier

    def is_authentic(self, statement: Statement) -> bool:
        """Return whether the author signed exactly this, for this network."""
        return statement.is_authentic(self._verifier, self._network_id)

    def accuse(self, accused: Descriptor, kind: Kind) -> Accusation:
        """Return a signed accusation of the boot and incarnation that this peer knows."""
        accusation = Accusation(
            author_key=self._identity.public_key,
            accused=accused.peer_id,
            boot=accused.boot,
            incarnation=accused.incarnation,
            kind=kind,
        )
        return signed(accusation, self._identity, self._network_id)

    def refute(self, *, above: int) -> Descriptor:
        """Describe this peer anew, with an incarnation over ``above`` and over the own one."""
        incarnation = max(above, self.descriptor.incarnation) + 1
        renewed = msgspec.structs.replace(self.descriptor, incarnation=incarnation, signature=b"")
        self.descriptor = signed(renewed, self._identity, self._network_id)
        return self.descriptor

    def relocate(self, *, address: Address, api: Address) -> Descriptor:
        """Describe this peer anew, with the addresses that it has now."""
        self.descriptor = msgspec.structs.replace(self.descriptor, address=address, api=api)
        return self.refute(above=self.descriptor.incarnation)

    def farewell(self) -> Leave:
        """Return the signed statement that this peer leaves in its present boot and incarnation."""
        leave = Leave(
            author_key=self._identity.public_key,
            boot=self.descriptor.boot,
            incarnation=self.descriptor.incarnation,
        )
        return signed(leave, self._identity, self._network_id)
