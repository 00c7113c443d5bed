"""What a newcomer with an invite and the issuer say to each other, over TLS on the peer port.

    newcomer                                   issuer
       │  TLS 1.3: the issuer's certificate proves the key whose hash the invite names; the newcomer has none
       │ ←─────────── Greeting: a nonce ───────────┤
       ├─ Knock: which invite, my key, the proof ─→│  burns one use of the invite, synced to disk
       │ ←── Welcome (the network key), Guest, or TurnedAway ──┤

The secret of the invite never travels: the proof is an HMAC under it over the nonce, the issuer and the newcomer's
key, which the newcomer's signature proves to be its own. Each message is one MessagePack array after two bytes of
size; tags are append-only.
"""

import functools
import hmac
import operator
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec

from protocol import limits
from protocol.config import Profile
from protocol.errors import DecodeError
from protocol.identity import Identity, Verifier
from protocol.ids import PeerId, peer_id_of
from protocol.invites import INVITE_ID_SIZE_BYTES, Invite
from protocol.network import NetworkIdentity
from protocol.statements import Address, Bytes32, Counter, Name

NONCE_SIZE_BYTES: Final = 32
KNOCK_SIZE_MAX_BYTES: Final = 256
"""Longest message of a newcomer, its two bytes of size included: more is not read."""

ANSWER_SIZE_MAX_BYTES: Final = 4096
CONTACTS_MAX: Final = 8
"""Members named to a newcomer: whoever answers introduces the others."""

ApiUrl = Annotated[str, msgspec.Meta(max_length=300, pattern=r"^http://[0-9A-Za-z.:%\[\]_-]+\Z")]

_SIZE_BYTES: Final = 2
_PROOF_PURPOSE: Final = b"pair/join/1"

Reason: TypeAlias = Literal[
    "unknown", "expired", "revoked", "used", "blocked", "wrong-proof", "banned", "failed", "busy"
]
"""Why a newcomer is turned away; append-only."""


class DoorMessage(
    msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True, tag_field="tag"
):
    """Base of what is said at the door."""

    def __repr__(self) -> str:
        return type(self).__name__  # some carry secrets: none of them belongs in a log


class Greeting(DoorMessage, frozen=True, kw_only=True, tag=1):
    """The issuer's first word."""

    nonce: Bytes32
    """Random; a recorded knock opens nothing a second time."""

    wall_ms: Counter
    """The issuer's wall clock, by which invites expire."""


class Knock(DoorMessage, frozen=True, kw_only=True, tag=2):
    """The newcomer's only word."""

    invite_id: Annotated[bytes, msgspec.Meta(min_length=INVITE_ID_SIZE_BYTES, max_length=INVITE_ID_SIZE_BYTES)]
    public_key: Bytes32
    """The newcomer's own key: it will be the peer with that id."""

    proof: Bytes32
    signature: Annotated[bytes, msgspec.Meta(min_length=64, max_length=64)]

    @property
    def newcomer(self) -> PeerId:
        """Id of the newcomer."""
        return peer_id_of(self.public_key)


class Welcome(DoorMessage, frozen=True, kw_only=True, tag=3):
    """All that a machine needs to be a member, and whom it may ask first."""

    name: Name
    key: Bytes32
    admin_public_key: Bytes32
    mode: Literal["available", "quorum"]
    open: bool
    contacts: Annotated[tuple[Address, ...], msgspec.Meta(max_length=CONTACTS_MAX)]
    profile: Profile = "local"
    k: Annotated[int, msgspec.Meta(ge=1, le=limits.HOLDERS_MAX)] = 8
    """How the issuer runs, and so the newcomer unless it wants otherwise: members do best with the same times."""

    @property
    def network(self) -> NetworkIdentity:
        """The network that the newcomer is a member of from now on."""
        return NetworkIdentity(
            name=self.name, key=self.key, admin_public_key=self.admin_public_key, mode=self.mode, open=self.open
        )


class Guest(DoorMessage, frozen=True, kw_only=True, tag=4):
    """What a reader gets: a token of the read level, and where it is good."""

    name: Name
    network_id: Bytes32
    token: Annotated[str, msgspec.Meta(max_length=128, pattern=r"^[!-~]+\Z")]
    apis: Annotated[tuple[ApiUrl, ...], msgspec.Meta(min_length=1, max_length=CONTACTS_MAX)]


class TurnedAway(DoorMessage, frozen=True, kw_only=True, tag=5):
    """No."""

    reason: Reason
    wall_ms: Counter


DOOR_MESSAGES: Final[tuple[type[DoorMessage], ...]] = (Greeting, Knock, Welcome, Guest, TurnedAway)

_types: Any = functools.reduce(operator.or_, DOOR_MESSAGES)
_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final[msgspec.msgpack.Decoder[DoorMessage]] = msgspec.msgpack.Decoder(_types)
_MALFORMED = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


def frame(message: DoorMessage) -> bytes:
    """Return the bytes of ``message`` as they go over the wire."""
    data = _encoder.encode(message)
    return len(data).to_bytes(_SIZE_BYTES, "big") + data


def frame_in(received: bytes, *, size_max_bytes: int) -> DoorMessage | None:
    """Return the message once ``received`` holds all of it; None while it does not.

    Args:
        size_max_bytes: Of the frame.

    Raises:
        DecodeError: It is none of this version, too long, or something follows it.
    """
    if len(received) < _SIZE_BYTES:
        return None
    end = _SIZE_BYTES + int.from_bytes(received[:_SIZE_BYTES], "big")
    if end > size_max_bytes or len(received) > end:
        raise DecodeError("a message at the door has the wrong size")
    if len(received) < end:
        return None
    try:
        return _decoder.decode(received[_SIZE_BYTES:])
    except _MALFORMED as error:
        raise DecodeError(str(error)) from error


def knock(invite: Invite, greeting: Greeting, newcomer: Identity) -> Knock:
    """Return what ``newcomer`` says to the issuer, who must have proved to be the one that the invite names."""
    said = _said(greeting.nonce, issuer=invite.issuer, invite_id=invite.invite_id, public_key=newcomer.public_key)
    return Knock(
        invite_id=invite.invite_id,
        public_key=newcomer.public_key,
        proof=hmac.digest(invite.secret, said, "sha256"),
        signature=newcomer.sign(said),
    )


def proves(message: Knock, *, nonce: bytes, issuer: PeerId, secret: bytes, verifier: Verifier) -> bool:
    """Return whether whoever knocked knows ``secret`` and owns the key that it names."""
    said = _said(nonce, issuer=issuer, invite_id=message.invite_id, public_key=message.public_key)
    is_known = hmac.compare_digest(message.proof, hmac.digest(secret, said, "sha256"))
    return is_known and verifier.verify(public_key=message.public_key, signature=message.signature, message=said)


def _said(nonce: bytes, *, issuer: PeerId, invite_id: bytes, public_key: bytes) -> bytes:
    assert len(nonce) == NONCE_SIZE_BYTES, "fields of fixed sizes need no separators"
    return _PROOF_PURPOSE + nonce + issuer + invite_id + public_key

