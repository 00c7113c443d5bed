"""Invites: a text that lets a machine into a network without holding the network key (DESIGN section 5).

    pair://<the fields below in base32, lower case, without padding>-<4 check characters>

    version 1 | role 1 | uses 1 | expires 4 | network 16 | issuer 32 | invite 6 | secret 16
    name: size 1, ASCII | addresses to the end, each: kind 1, IP address of 4 or 16 bytes, port 2

Case and white space do not matter, so that an invite survives mail, a QR code (whose smallest form has capitals
only) and being read aloud. The id of the issuer is the hash of its public key: whoever proves that key over TLS is the
issuer, and no certificate authority has to be believed before (``docs/decisions/0010-invites-readers-bans.md``).
"""

import base64
import hashlib
import ipaddress
import struct
from typing import Final, Literal, TypeAlias

import msgspec

from protocol.errors import InviteError
from protocol.ids import NetworkId, PeerId, is_name
from protocol.statements import Address

Role: TypeAlias = Literal["member", "reader"]
"""What the invited becomes: a peer that has the network key, or a machine with a token that reads."""

SCHEME: Final = "pair://"
INVITE_ID_SIZE_BYTES: Final = 6
SECRET_SIZE_BYTES: Final = 16
NETWORK_PREFIX_SIZE_BYTES: Final = 16
USES_MAX: Final = 255
ADDRESSES_MAX: Final = 4
"""Addresses of the issuer in one invite: those of its interfaces; more would not be tried in time."""

TEXT_SIZE_MAX: Final = 512
"""The longest invite, with a name of 63 characters and four IPv6 addresses, has 360."""

_VERSION: Final = 1
_HEAD: Final = struct.Struct(f"!BBBI{NETWORK_PREFIX_SIZE_BYTES}s32s{INVITE_ID_SIZE_BYTES}s{SECRET_SIZE_BYTES}sB")
_PORT_SIZE_BYTES: Final = 2
_IP_SIZES: Final = (4, 16)
"""The kind of an address is its size in bytes."""

_ROLES: Final[dict[int, Role]] = {1: "member", 2: "reader"}
"""Append-only."""

_CHECK_SIZE: Final = 4
_ALPHABET: Final = frozenset("abcdefghijklmnopqrstuvwxyz234567")
_COPY_AGAIN: Final = "copy it again as a whole, from pair:// to the last character"


class Invite(msgspec.Struct, frozen=True, kw_only=True):
    """What an invite says. Whoever has it may use it: it is shown to nobody else."""

    role: Role
    uses: int
    """How many machines it lets in, 1 to ``USES_MAX``."""

    expires_s: int
    """Seconds since 1970, by the issuer's clock."""

    network_prefix: bytes
    """First 16 bytes of the network id."""

    network_name: str
    issuer: PeerId
    """The one peer that knows this invite."""

    invite_id: bytes
    """6 bytes; no secret."""

    secret: bytes
    """16 bytes, which only the issuer and the invited ever have, and which are never sent."""

    addresses: tuple[Address, ...]
    """Where the issuer's peer port is, 1 to ``ADDRESSES_MAX`` IP addresses."""

    def __repr__(self) -> str:
        return f"Invite({self.invite_id.hex()})"  # never the secret: this may end in a log

    def is_for(self, network_id: NetworkId) -> bool:
        """Return whether it leads into this network."""
        return network_id[:NETWORK_PREFIX_SIZE_BYTES] == self.network_prefix


def encode_invite(invite: Invite) -> str:
    """Return the text of ``invite``; its addresses are IP addresses."""
    role = next(number for number, role in _ROLES.items() if role == invite.role)
    name = invite.network_name.encode()
    head = _HEAD.pack(
        _VERSION,
        role,
        invite.uses,
        invite.expires_s,
        invite.network_prefix,
        invite.issuer,
        invite.invite_id,
        invite.secret,
        len(name),
    )
    body = _base32(head + name + b"".join(map(_encode_address, invite.addresses)))
    return f"{SCHEME}{body}-{_check_of(body)}"


def decode_invite(text: str) -> Invite:
    """Return what the invite ``text`` says.

    Raises:
        InviteError: It is no whole invite of this version; says what is wrong with it.
    """
    data = _data_in(text)
    if data[0] != _VERSION:
        raise InviteError(
            f"the invite has format {data[0]}, and this version of pair knows format {_VERSION}",
            next_step="use the version of pair that the inviting machine uses",
        )
    try:
        return _invite_in(data)
    except (ValueError, struct.error, msgspec.ValidationError) as error:
        raise InviteError(f"the invite is malformed: {error}", next_step="ask for a new one: pair invite") from error


def _data_in(text: str) -> bytes:
    """Return the bytes of an invite whose check characters are right; at least one."""
    if len(text) > TEXT_SIZE_MAX * 2:
        raise InviteError(f"no invite has {len(text)} characters", next_step=_COPY_AGAIN)
    packed = "".join(text.split()).lower()
    if not packed.startswith(SCHEME):
        raise InviteError("this is no invite: one begins with pair://", next_step=_COPY_AGAIN)
    body, dash, check = packed.removeprefix(SCHEME).partition("-")
    wrong = next((character for character in body + check if character not in _ALPHABET), None)
    if wrong is not None:
        raise InviteError(f"no invite contains {wrong!r}: a character is wrong", next_step=_COPY_AGAIN)
    if not dash or len(check) < _CHECK_SIZE:
        raise InviteError("the invite is cut off: its end is missing", next_step=_COPY_AGAIN)
    if len(check) > _CHECK_SIZE:
        raise InviteError("there is something behind the end of the invite", next_step=_COPY_AGAIN)
    if not body or check != _check_of(body):
        raise InviteError("a character of the invite is wrong or missing", next_step=_COPY_AGAIN)
    try:
        data = base64.b32decode(body.upper() + "=" * (-len(body) % 8))
    except ValueError as error:
        raise InviteError("the invite is malformed", next_step=_COPY_AGAIN) from error
    if not data or _base32(data) != body:
        raise InviteError("the invite is malformed", next_step=_COPY_AGAIN)
    return data


def _invite_in(data: bytes) -> Invite:
    _, role, uses, expires_s, network_prefix, issuer, invite_id, secret, name_size = _HEAD.unpack_from(data)
    name_end = _HEAD.size + name_size
    name = data[_HEAD.size : name_end].decode("ascii")
    addresses = _addresses_in(data[name_end:])
    if role not in _ROLES or not uses or not is_name(name) or len(name) != name_size:
        raise ValueError("a field has no valid value")
    return Invite(
        role=_ROLES[role],
        uses=uses,
        expires_s=expires_s,
        network_prefix=network_prefix,
        network_name=name,
        issuer=PeerId(issuer),
        invite_id=invite_id,
        secret=secret,
        addresses=addresses,
    )


def _addresses_in(data: bytes) -> tuple[Address, ...]:
    addresses: list[Address] = []
    while data:
        size = data[0]
        end = 1 + size + _PORT_SIZE_BYTES
        if size not in _IP_SIZES or len(data) < end:
            raise ValueError("an address is cut off or of no known kind")
        port = int.from_bytes(data[1 + size : end], "big")
        addresses.append(Address(str(ipaddress.ip_address(data[1 : 1 + size])), port))
        data = data[end:]
    if not 1 <= len(addresses) <= ADDRESSES_MAX or not all(address.port for address in addresses):
        raise ValueError("it names no way to the issuer, or too many")
    return tuple(addresses)


def _encode_address(address: Address) -> bytes:
    packed = ipaddress.ip_address(address.host).packed
    return bytes([len(packed)]) + packed + address.port.to_bytes(_PORT_SIZE_BYTES, "big")


def _check_of(body: str) -> str:
    """Return 20 bits that tell a mistyped invite from a whole one."""
    return _base32(hashlib.sha256(b"pair/invite-check/1" + body.encode()).digest())[:_CHECK_SIZE]


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()
