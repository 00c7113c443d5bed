"""The wire of stock Kademlia nodes: rpcudp's framing of MessagePack, decoded strictly.

A datagram is ``kind 1 | message id 20 | MessagePack``; kind 0x00 asks with ``[name, [arguments]]``, 0x01 answers.
Everything is decoded to the types that the four calls have, so that no value of another shape goes any further.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

import msgspec

from node.dht.kademlia.contacts import Contact
from protocol.errors import DecodeError, LocalProtocolError
from protocol.ids import Digest

MESSAGE_ID_SIZE_BYTES: Final = 20
BODY_SIZE_MAX_BYTES: Final = 8192
"""What rpcudp sends at most in one request."""

VALUE_SIZE_MAX_BYTES: Final = 8137
"""Largest value for which a ``store`` call fits ``BODY_SIZE_MAX_BYTES``."""

ENTRIES_MAX: Final = 20
"""Contacts read from one answer: the k of stock nodes."""

_REQUEST: Final = b"\x00"
_REPLY: Final = b"\x01"
_HEADER_SIZE_BYTES: Final = 1 + MESSAGE_ID_SIZE_BYTES

Place = Annotated[bytes, msgspec.Meta(min_length=20, max_length=20)]


class FoundEntry(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A contact as stock nodes write it."""

    node_id: Place
    host: Annotated[str, msgspec.Meta(max_length=45)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


class FoundValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The answer to ``find_value`` of a node that has it."""

    value: msgspec.Raw
    """See ``value_of``."""


class _Call(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=32)]
    arguments: msgspec.Raw


@dataclass(frozen=True, slots=True)
class StockRequest:
    """A call of another node; its arguments are still to be decoded."""

    message_id: bytes
    name: str
    arguments: bytes
    size_bytes: int
    """Of the whole datagram, which bounds what may be sent back to an unproven address."""


@dataclass(frozen=True, slots=True)
class StockReply:
    """The answer to a call of ours; its body is still to be decoded."""

    message_id: bytes
    body: bytes


BodyT = TypeVar("BodyT")

# What msgspec raises on hostile bytes: its own errors, and the UTF-8 and recursion errors beneath them.
_MALFORMED = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)

_encoder: Final = msgspec.msgpack.Encoder()
_call_decoder: Final = msgspec.msgpack.Decoder(_Call)
_bytes_decoder: Final = msgspec.msgpack.Decoder(bytes)
_text_decoder: Final = msgspec.msgpack.Decoder(str)
ping_arguments: Final = msgspec.msgpack.Decoder(tuple[Place])
store_arguments: Final = msgspec.msgpack.Decoder(tuple[Place, Place, msgspec.Raw])
find_arguments: Final = msgspec.msgpack.Decoder(tuple[Place, Place])
ping_reply: Final = msgspec.msgpack.Decoder(Place)
store_reply: Final = msgspec.msgpack.Decoder(bool)
find_node_reply: Final = msgspec.msgpack.Decoder(list[FoundEntry])
find_value_reply: Final = msgspec.msgpack.Decoder(list[FoundEntry] | FoundValue)


def decode(datagram: bytes) -> StockRequest | StockReply:
    """Return the call or the answer in ``datagram``.

    Raises:
        DecodeError: It is neither.
    """
    message_id, body = datagram[1:_HEADER_SIZE_BYTES], datagram[_HEADER_SIZE_BYTES:]
    if not 0 < len(body) <= BODY_SIZE_MAX_BYTES:
        raise DecodeError("a stock datagram of an impossible size")
    if datagram[:1] == _REPLY:
        return StockReply(message_id, body)
    if datagram[:1] != _REQUEST:
        raise DecodeError("a stock datagram of an unknown kind")
    call = decode_body(body, _call_decoder)
    return StockRequest(message_id, call.name, bytes(call.arguments), len(datagram))


def decode_body(body: bytes, decoder: "msgspec.msgpack.Decoder[BodyT]") -> BodyT:
    """Return what ``decoder`` reads.

    Raises:
        DecodeError: ``body`` has another shape.
    """
    try:
        return decoder.decode(body)
    except _MALFORMED as error:
        raise DecodeError(f"malformed stock message: {error}") from error


def encode_request(message_id: bytes, name: str, arguments: Sequence[object]) -> bytes:
    """Return the datagram of a call.

    Raises:
        LocalProtocolError: It is larger than stock nodes take.
    """
    return _REQUEST + message_id + _encoded([name, list(arguments)])


def encode_reply(message_id: bytes, body: object) -> bytes:
    """Return the datagram of an answer.

    Raises:
        LocalProtocolError: It is larger than stock nodes take.
    """
    return _REPLY + message_id + _encoded(body)


def entries_of(contacts: Sequence[Contact]) -> list[list[object]]:
    """Return contacts as stock nodes write them."""
    return [[contact.id, contact.ip, contact.port] for contact in contacts]


def contacts_of(entries: Sequence[FoundEntry], *, told_by: str) -> list[Contact]:
    """Return the usable ones of the contacts that the node at host ``told_by`` named."""
    usable = [entry for entry in entries[:ENTRIES_MAX] if may_tell(entry.host, told_to=told_by)]
    return [Contact(Digest(entry.node_id), entry.host, entry.port) for entry in usable]


def may_tell(host: str, *, told_to: str) -> bool:
    """Return whether ``host`` is an address that makes sense at ``told_to``; no name is, which may mean anything.

    Loopback addresses make sense on the loopback only, in both directions: told to another machine they are
    wrong, and told by one they would aim our datagrams at our own services. A socket reaches one family of
    addresses, that of ``told_to``.
    """
    try:
        address, other = ipaddress.ip_address(host), ipaddress.ip_address(told_to)
    except ValueError:
        return False
    if address.version != other.version or address.is_multicast or address.is_unspecified:
        return False
    if str(address) == "255.255.255.255":
        return False
    return other.is_loopback or not address.is_loopback


def value_to_wire(value: bytes) -> bytes | str:
    """Return text where the bytes are UTF-8, as stock users expect, and the bytes otherwise."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def value_of(raw: bytes) -> bytes:
    """Return the bytes that are kept for a value on the wire; text becomes UTF-8.

    Raises:
        DecodeError: It is neither bytes nor text (numbers and truth values have no bytes that all agree on), or
            larger than a stock node could be told.
    """
    try:
        value = decode_body(raw, _bytes_decoder)
    except DecodeError:
        value = decode_body(raw, _text_decoder).encode()
    if len(value) > VALUE_SIZE_MAX_BYTES:
        raise DecodeError("a value larger than stock nodes take")
    return value


def _encoded(body: object) -> bytes:
    encoded = _encoder.encode(body)
    if len(encoded) > BODY_SIZE_MAX_BYTES:
        raise LocalProtocolError("a stock message larger than stock nodes take")
    return encoded
