"""One valid example of each statement, for tests that need some: fixed seeds, so fixed bytes."""

from collections.abc import Sequence

from protocol.identity import Identity
from protocol.ids import NetworkId, PeerId, key_digest
from protocol.network import NetworkIdentity
from protocol.records import Record, stamp_of
from protocol.statements import (
    Accusation,
    Address,
    Ballot,
    Ban,
    Certificate,
    Descriptor,
    Leave,
    Readmission,
    Release,
    Vote,
    VoterList,
    council_hash,
    signed,
)

NETWORK = NetworkIdentity(name="test", key=b"k" * 32, admin_public_key=b"a" * 32)
NETWORK_ID: NetworkId = NETWORK.network_id


ADMIN = Identity(b"admin".ljust(32))
"""Signs lists of voters; the networks of most tests have no admin whose key is known."""

KEY_PLACE = key_digest("color", open_network=False)


def identity(number: int) -> Identity:
    """Return the key pair of test peer ``number``."""
    return Identity(number.to_bytes(32, "big"))


def descriptor(number: int, *, boot: int = 1, incarnation: int = 0, port: int | None = None) -> Descriptor:
    """Return the signed description of test peer ``number``."""
    who = identity(number)
    peer_port = 7400 + number if port is None else port
    return signed(
        Descriptor(
            author_key=who.public_key,
            name=f"peer-{number}",
            address=Address("127.0.0.1", peer_port),
            api=Address("127.0.0.1", 8400 + number),
            boot=boot,
            incarnation=incarnation,
            version="0.1.0",
        ),
        who,
        NETWORK_ID,
    )


def ban(number: int, *, version: int = 1_800_000_000_000, is_lifted: bool = False, admin: Identity = ADMIN) -> Ban:
    """Return the statement of ``ADMIN`` that test peer ``number`` is banned, or is so no longer."""
    return signed(
        Ban(author_key=admin.public_key, banned=identity(number).peer_id, version=version, is_lifted=is_lifted),
        admin,
        NETWORK_ID,
    )


def accusation(accuser: int, accused: int) -> Accusation:
    """Return ``accuser``'s signed word that ``accused`` is silent in its first boot."""
    who = identity(accuser)
    return signed(
        Accusation(
            author_key=who.public_key, accused=identity(accused).peer_id, boot=1, incarnation=0, kind="silent"
        ),
        who,
        NETWORK_ID,
    )


def leave(number: int) -> Leave:
    """Return the signed goodbye of test peer ``number``."""
    who = identity(number)
    return signed(Leave(author_key=who.public_key, boot=1, incarnation=0), who, NETWORK_ID)


def certificate(*, council_size: int = 7, term: int = 3) -> Certificate:
    """Return a certificate with a bare majority of a council of ``council_size`` peers."""
    voters = sorted((identity(number) for number in range(1, council_size + 1)), key=lambda who: who.peer_id)
    council = tuple(who.peer_id for who in voters)
    ballot = Ballot(term, council[0])
    votes = tuple(
        signed(
            Vote(author_key=who.public_key, ballot=ballot, council_hash=council_hash(council), voter_boot=2**63),
            who,
            NETWORK_ID,
        )
        for who in voters[: council_size // 2 + 1]
    )
    return Certificate(ballot=ballot, council=council, votes=votes)


def release(leader: int, successor: int) -> Release:
    """Return the signed release of a leader in favour of ``successor``."""
    who = identity(leader)
    return signed(
        Release(author_key=who.public_key, ballot=Ballot(3, who.peer_id), successor=identity(successor).peer_id),
        who,
        NETWORK_ID,
    )


def voter_list(
    *,
    voters: Sequence[PeerId],
    version: int = 1,
    lease_ms: int = 250,
    readmitted: Sequence[Readmission] = (),
    admin: Identity = ADMIN,
    network_id: NetworkId = NETWORK_ID,
) -> VoterList:
    """Return a list of voters, signed by the admin."""
    paper = VoterList(
        author_key=admin.public_key,
        version=version,
        voters=tuple(sorted(voters)),
        lease_ms=lease_ms,
        readmitted=tuple(readmitted),
    )
    return signed(paper, admin, network_id)


def record(writer: int, *, key: str = "color", value: bytes = b"red", time_ms: int = 1_800_000_000_000) -> Record:
    """Return a version of a register, signed by test peer ``writer``."""
    who = identity(writer)
    return signed(
        Record(author_key=who.public_key, key=key, value=value, stamp=stamp_of(time_ms)), who, NETWORK_ID
    )
