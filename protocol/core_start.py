"""What the core of a peer starts from."""

import random
from dataclasses import dataclass

from protocol.config import ProtocolConfig
from protocol.effects import Promise
from protocol.identity import Identity, Verifier
from protocol.network import NetworkIdentity
from protocol.statements import Descriptor, VoterList


@dataclass(frozen=True, kw_only=True, slots=True)
class CoreStart:
    """Everything a core starts from."""

    identity: Identity
    network: NetworkIdentity
    descriptor: Descriptor
    """The local peer's own, signed, with this boot."""

    config: ProtocolConfig
    verifier: Verifier
    random: random.Random
    promise: Promise | None
    """What the vote file holds; None on a fresh peer."""

    may_vote: bool
    """False after the vote file was found damaged."""

    remembered: tuple[Descriptor, ...]
    wall_ms: int
    now: float
    voters: tuple[VoterList, ...] = ()
    """The lists of voters that were kept, in the *quorum* mode; none of them is believed yet."""
