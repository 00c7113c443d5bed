"""Signed statements: what peers may repeat for each other because the author's signature is on it.

Gossip carries statements, never opinions: a descriptor (also the refutation of an accusation, when its
incarnation is higher), an accusation, a leave. Each member table is derived from the same evidence, so tables
agree once the evidence has spread. Votes and certificates prove a leader to anybody (DESIGN section 6).

A signature covers a domain, the network id and every other field in order, as one MessagePack array.
"""

import functools
import hashlib
from typing import Annotated, ClassVar, Final, Literal, TypeAlias, TypeVar

import msgspec

from protocol import limits
from protocol.identity import Identity, Verifier
from protocol.ids import NetworkId, PeerId, peer_id_of

Bytes32 = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Signature = Annotated[bytes, msgspec.Meta(max_length=64)]
Boot = Annotated[int, msgspec.Meta(ge=0)]
"""64 bits: 40 of time, 24 random; MessagePack itself ends at 64."""
Counter = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9-]{1,63}\Z")]
Host = Annotated[str, msgspec.Meta(min_length=1, max_length=limits.HOST_SIZE_MAX, pattern=r"^[0-9A-Za-z.:%_-]+\Z")]
"""An IP address or host name: nothing in it can move a terminal's cursor."""

EVIDENCE_KEPT_MAX: Final = 2048
"""Descriptors, accusations and leaves of which something is kept, so that it is not made again: some 2 MiB in all."""

_encoder = msgspec.msgpack.Encoder()


class Address(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where a peer's port is. Ordered and hashable."""

    host: Host
    port: Port

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Statement(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all that is signed. The last field of every subclass is ``signature``."""

    domain: ClassVar[bytes]

    author_key: Bytes32
    """Public key of the peer that makes the statement."""

    @property
    def author(self) -> PeerId:
        """Id of the peer that makes the statement."""
        return peer_id_of(self.author_key)

    def signed_bytes(self, network_id: NetworkId) -> bytes:
        """Return what the signature covers."""
        fields = [getattr(self, name) for name in self.__struct_fields__ if name != "signature"]
        return self.domain + network_id + _encoder.encode(fields)

    def is_authentic(self, verifier: Verifier, network_id: NetworkId) -> bool:
        """Return whether the author signed exactly this, for this network."""
        signature: bytes = getattr(self, "signature")  # noqa: B009  (declared last, in each subclass)
        return verifier.verify(
            public_key=self.author_key, signature=signature, message=self.signed_bytes(network_id)
        )


StatementT = TypeVar("StatementT", bound=Statement)


def signed(statement: StatementT, identity: Identity, network_id: NetworkId) -> StatementT:
    """Return ``statement`` with the author's signature in place; the author must be ``identity``."""
    assert statement.author_key == identity.public_key, "only the author signs"
    return msgspec.structs.replace(statement, signature=identity.sign(statement.signed_bytes(network_id)))


class Repeated(Statement, frozen=True, cache_hash=True, dict=True, kw_only=True):
    """Base of what gossip repeats, the evidence about members: what is made of it is kept beside it."""

    evidence_tag: ClassVar[int]
    """First byte of the encoded evidence; a number, once used, never changes its meaning."""

    @functools.cached_property
    def author(self) -> PeerId:
        """Id of the peer that makes the statement."""
        return peer_id_of(self.author_key)

    @functools.cached_property
    def encoded(self) -> bytes:
        """The bytes of this piece of evidence: its kind and the statement."""
        return bytes([self.evidence_tag]) + _encoder.encode(self)

    def signed_bytes(self, network_id: NetworkId) -> bytes:
        """Return what the signature covers."""
        return _signed_bytes(self, network_id)


@functools.lru_cache(maxsize=EVIDENCE_KEPT_MAX)
def _signed_bytes(statement: Repeated, network_id: NetworkId) -> bytes:
    return Statement.signed_bytes(statement, network_id)


class Descriptor(Repeated, frozen=True, kw_only=True):
    """A peer describes itself: who, where, which boot. With a higher incarnation it refutes accusations."""

    domain: ClassVar[bytes] = b"pair/descriptor/1"
    evidence_tag: ClassVar[int] = 1

    name: Name
    address: Address
    """The peer port: UDP for control, TCP for bytes."""

    api: Address
    boot: Boot
    """Which run of the peer this is; rises with each start."""

    incarnation: Counter
    """Rises with each refutation; a later boot also continues above the earlier one's."""

    version: Annotated[str, msgspec.Meta(max_length=32, pattern=r"^[0-9A-Za-z.+-]*\Z")]
    signature: Signature = b""

    @functools.cached_property
    def peer_id(self) -> PeerId:
        """Id of the described peer, who is also the author."""
        return self.author


class Accusation(Repeated, frozen=True, kw_only=True):
    """A peer says that another does not answer (SWIM 2002, section 4.2: a suspicion, not a verdict)."""

    domain: ClassVar[bytes] = b"pair/accusation/1"
    evidence_tag: ClassVar[int] = 2

    accused: Bytes32
    boot: Boot
    incarnation: Counter
    """Boot and incarnation of the accused that the accuser knew; a higher one refutes."""

    kind: Literal["silent", "refused"]
    """``silent``: probes went unanswered. ``refused``: the operating system says that nobody listens there."""

    signature: Signature = b""


class Leave(Repeated, frozen=True, kw_only=True):
    """A peer says goodbye: its author left in this boot and incarnation."""

    domain: ClassVar[bytes] = b"pair/leave/1"
    evidence_tag: ClassVar[int] = 3

    boot: Boot
    incarnation: Counter
    signature: Signature = b""


Evidence: TypeAlias = Descriptor | Accusation | Leave


class Ballot(msgspec.Struct, frozen=True, order=True, array_like=True, forbid_unknown_fields=True):
    """An attempt to lead: ordered by term, then by candidate (DESIGN section 6)."""

    term: Counter
    candidate: Bytes32

    @property
    def peer_id(self) -> PeerId:
        """The candidate."""
        return PeerId(self.candidate)


class Vote(Statement, frozen=True, kw_only=True):
    """A signed promise to one candidate for one term. No peer ever signs two candidates in one term."""

    domain: ClassVar[bytes] = b"pair/vote/1"

    ballot: Ballot
    council_hash: Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
    voter_boot: Boot
    signature: Signature = b""


class Certificate(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """The votes that made a leader, with the council they were cast in. Anybody can check it."""

    ballot: Ballot
    council: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=limits.COUNCIL_SIZE_MAX)]
    """Ids of the peers that could vote, ascending."""

    votes: Annotated[tuple[Vote, ...], msgspec.Meta(min_length=1, max_length=limits.COUNCIL_SIZE_MAX)]
    """A bare majority of the council, ascending by voter: enough, and it fits one datagram."""

    @property
    def signers(self) -> tuple[PeerId, ...]:
        """Ids of the voters, in the order of ``votes``."""
        return tuple(vote.author for vote in self.votes)

    def is_authentic(self, verifier: Verifier, network_id: NetworkId) -> bool:
        """Return whether distinct members of the named council, a majority of it, signed for this ballot."""
        signers = self.signers
        council = set(self.council)
        return (
            list(self.council) == sorted(council)
            and len(set(signers)) == len(signers) >= majority_of(len(self.council))
            and all(signer in council for signer in signers)
            and all(vote.ballot == self.ballot for vote in self.votes)
            and all(vote.council_hash == council_hash(self.council) for vote in self.votes)
            and all(vote.is_authentic(verifier, network_id) for vote in self.votes)
        )


class Ban(Statement, frozen=True, kw_only=True):
    """The admin bans a peer from the network, or lifts that; the highest valid version about a peer counts."""

    domain: ClassVar[bytes] = b"pair/ban/1"

    banned: Bytes32
    """Id of the peer, which nobody can have anew: it is the hash of its key."""

    version: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    """Milliseconds since 1970 when it was signed, or one more than the version before."""

    is_lifted: bool
    signature: Signature = b""

    @property
    def order(self) -> tuple[int, bool, bytes]:
        """Return what decides which of two statements about one peer counts; of one version the harder one."""
        return (self.version, not self.is_lifted, self.signature)


class Release(Statement, frozen=True, kw_only=True):
    """A leader gives up its lease early, in favour of another peer (planned handover)."""

    domain: ClassVar[bytes] = b"pair/release/1"

    ballot: Ballot
    """The leader's own ballot, which ends here."""

    successor: Bytes32
    signature: Signature = b""


class Readmission(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The admin lets a voter that lost its promise vote again (*quorum* mode)."""

    voter: Bytes32
    lost_in: Boot
    """Boot in which the voter found its promise lost; another loss needs another readmission."""

    above_term: Counter
    """The voter signs only above this term: in those up to it it may have voted, and does not know."""


class VoterList(Statement, frozen=True, kw_only=True):
    """The fixed council of a network in *quorum* mode, signed by its admin; the highest valid version counts."""

    domain: ClassVar[bytes] = b"pair/voters/1"

    version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    voters: Annotated[tuple[Bytes32, ...], msgspec.Meta(min_length=1, max_length=limits.COUNCIL_SIZE_MAX)]
    """Ids of the peers that vote, ascending."""

    lease_ms: Annotated[int, msgspec.Meta(ge=1, le=60_000)]
    """Longest lease of any leader, in milliseconds. The same in all versions: promises of voters are as long."""

    readmitted: Annotated[tuple[Readmission, ...], msgspec.Meta(max_length=limits.COUNCIL_SIZE_MAX)] = ()
    signature: Signature = b""

    def is_valid(self, verifier: Verifier, network_id: NetworkId, *, admin_key: bytes) -> bool:
        """Return whether the admin of this network signed it, and nobody in it counts twice."""
        return (
            self.author_key == admin_key
            and list(self.voters) == sorted(set(self.voters))
            and self.is_authentic(verifier, network_id)
        )

    def may_succeed(self, known: "VoterList") -> bool:
        """Return whether the admin may have come from ``known`` to this list: each version changes one voter at most.

        Then majorities of two versions that follow each other have a voter in common.
        """
        changed = len(set(self.voters).symmetric_difference(known.voters))
        return self.lease_ms == known.lease_ms and changed <= self.version - known.version


def council_hash(council: tuple[bytes, ...]) -> bytes:
    """Return 16 bytes that name a council; its ids are ascending."""
    return hashlib.sha256(b"".join(council)).digest()[:16]


def majority_of(count: int) -> int:
    """Return the smallest number that is more than half of ``count``."""
    return count // 2 + 1
