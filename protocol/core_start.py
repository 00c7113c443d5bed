"""What the core of a peer starts from, and the machines that are made of it."""

import random
from dataclasses import dataclass

from protocol.bans import Bans
from protocol.config import ProtocolConfig
from protocol.effects import Promise
from protocol.election import Election
from protocol.election.quorum import rules_of
from protocol.identity import Identity, Verifier
from protocol.members import Membership
from protocol.network import NetworkIdentity
from protocol.statements import Ban, Descriptor, VoterList


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

    bans: tuple[Ban, ...] = ()
    """The bans that were kept; none of them is believed yet."""


def bans_of(start: CoreStart) -> Bans:
    """Return what the peer knows of bans at its start."""
    return Bans(
        start.bans,
        network=start.network,
        own=start.identity.peer_id,
        verifier=start.verifier,
        random=start.random,
        now=start.now,
    )


def membership_of(start: CoreStart, bans: Bans) -> Membership:
    """Return the membership at the start of the peer."""
    return Membership(
        identity=start.identity,
        network_id=start.network.network_id,
        descriptor=start.descriptor,
        config=start.config,
        verifier=start.verifier,
        random=start.random,
        now=start.now,
        remembered=start.remembered,
        banned=bans.banned,
    )


def election_of(start: CoreStart) -> Election:
    """Return the election at the start of the peer."""
    return Election(
        identity=start.identity,
        network_id=start.network.network_id,
        boot=start.descriptor.boot,
        config=start.config,
        verifier=start.verifier,
        random=start.random,
        promise=start.promise,
        may_vote=start.may_vote,
        rules=rules_of(start.network, config=start.config, verifier=start.verifier, voters=start.voters, now=start.now),
        now=start.now,
    )
