"""Every place where bytes of somebody else become something of ours, each as one function of bytes.

A decoder may refuse with the errors that it documents; anything else that it raises is a bug.
"""

import functools
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import msgspec
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from bootstrap.discovery import SERVICE_TYPE, ZeroconfDiscovery
from bootstrap.seeds import parse_seed
from node.api.bodies import decode_json
from node.api.limits import PARAMETERS_MAX
from node.api.percent import QueryError, decode_component, parse_query
from node.dht.kademlia import framing
from node.errors import OperationError
from node.link_hello import frame_hello, hello_in
from node.ports import StoredRecord
from node.shapes import FaultOrder, HandoverOrder, InviteOrder
from node.storage.record_rows import checksum_of, is_whole, record_in, row_of
from node.tls import peer_id_from_certificate
from protocol import codec, doorway
from protocol.envelope import Opener, Sealer
from protocol.errors import ConfigError, DecodeError, RemoteProtocolError
from protocol.identity import CachingVerifier
from protocol.ids import ANY_RECEIVER, short_id_of
from protocol.invites import SCHEME, Invite, Role, _base32, _check_of, _data_in, decode_invite, encode_invite
from protocol.statements import Address
from tests.node.tcp_peers import forged_leaf
from tests.protocol import samples
from tests.protocol.test_codec import EXAMPLES


@dataclass(frozen=True, slots=True)
class Decoder:
    """One decoder under test."""

    name: str
    examples: Sequence[bytes]
    """Valid inputs, from which hostile ones are made."""

    decode: Callable[[bytes], object]
    refusals: tuple[type[Exception], ...]
    """What it may raise."""


def decoders() -> list[Decoder]:
    """Return all decoders; some keep state between inputs, as in a peer, so each run takes new ones."""
    return [
        _envelope(),
        *_messages(),
        _evidence(),
        _record(),
        _stored_row(),
        *_invites(),
        *_door_messages(),
        *_http_bodies(),
        _http_query(),
        _zeroconf(),
        _link_hello(),
        _stock_datagram(),
        _certificate(),
        _seed_address(),
    ]


def _envelope() -> Decoder:
    receiver = samples.identity(1).peer_id
    opener = Opener(network=samples.NETWORK, peer_id=receiver)
    sealers = [
        Sealer(network=samples.NETWORK, peer_id=samples.identity(number).peer_id, boot=number) for number in (2, 3)
    ]
    plain = [codec.encode(message) for message in EXAMPLES if codec.encoded_size(message) < 1000]
    sealed = [
        sealer.seal(each, to) for sealer in sealers for each in plain for to in (short_id_of(receiver), ANY_RECEIVER)
    ]
    return Decoder("envelope", sealed, opener.open, (RemoteProtocolError,))


def _messages() -> list[Decoder]:
    return [
        Decoder(f"message:{type(example).__name__}", [codec.encode(example)], codec.decode, (DecodeError,))
        for example in EXAMPLES
    ]


def _evidence() -> Decoder:
    verifier = CachingVerifier()
    evidence = (samples.descriptor(1), samples.accusation(1, 2), samples.leave(2))

    def take(data: bytes) -> None:
        codec.decode_evidence(data).is_authentic(verifier, samples.NETWORK_ID)

    return Decoder("evidence", [each.encoded for each in evidence], take, (DecodeError,))


def _record() -> Decoder:
    """A record as it comes from another peer: decoded, and looked at before anything is believed."""
    verifier = CachingVerifier()
    encode = msgspec.msgpack.Encoder().encode

    def take(data: bytes) -> None:
        record = record_in(b"", checksum_of(b"", data), data)
        if record is None:
            raise DecodeError
        record.is_acceptable(verifier, samples.NETWORK_ID, open_network=True)
        assert record.order and record.version and record.is_live(0) is not None

    return Decoder("record", [encode(samples.record(number)) for number in (1, 2)], take, (DecodeError,))


def _stored_row() -> Decoder:
    row = row_of(StoredRecord(samples.KEY_PLACE, samples.record(1)))

    def take(data: bytes) -> None:
        is_whole((*row[:-2], checksum_of(samples.KEY_PLACE, data), data))

    return Decoder("stored row", [row[-1]], take, ())


def _invites() -> list[Decoder]:
    """The text as a person types it, and, behind right check characters, what it says."""
    roles: tuple[tuple[Role, tuple[Address, ...]], ...] = (
        ("member", (Address("192.0.2.1", 7400),)),
        ("reader", (Address("2001:db8::1", 7400), Address("192.0.2.1", 1))),
    )
    texts = [
        encode_invite(
            Invite(
                role=role,
                uses=1,
                expires_s=1_900_000_000,
                network_prefix=bytes(16),
                network_name="local",
                issuer=samples.identity(1).peer_id,
                invite_id=b"invite",
                secret=b"s" * 16,
                addresses=addresses,
            )
        )
        for role, addresses in roles
    ]

    def take_text(data: bytes) -> None:
        decode_invite(data.decode(errors="surrogateescape"))

    def take_fields(data: bytes) -> None:
        body = _base32(data)
        decode_invite(f"{SCHEME}{body}-{_check_of(body)}")

    return [
        Decoder("invite:text", [text.encode() for text in texts], take_text, (DecodeError,)),
        Decoder("invite:fields", [_data_in(text) for text in texts], take_fields, (DecodeError,)),
    ]


def _door_messages() -> list[Decoder]:
    examples: tuple[doorway.DoorMessage, ...] = (
        doorway.Greeting(nonce=bytes(32), wall_ms=1),
        doorway.Knock(invite_id=b"invite", public_key=bytes(32), proof=bytes(32), signature=bytes(64)),
        doorway.Welcome(
            name="local",
            key=bytes(32),
            admin_public_key=bytes(32),
            mode="available",
            open=False,
            contacts=(Address("192.0.2.1", 7400),),
        ),
        doorway.Guest(name="local", network_id=bytes(32), token="pairt_x", apis=("http://192.0.2.1:8400",)),
        doorway.TurnedAway(reason="used", wall_ms=1),
    )
    return [
        Decoder(
            f"door:{type(example).__name__}",
            [doorway.frame(example)],
            lambda data: doorway.frame_in(data, size_max_bytes=doorway.ANSWER_SIZE_MAX_BYTES),
            (DecodeError,),
        )
        for example in examples
    ]


def _http_bodies() -> list[Decoder]:
    orders: tuple[tuple[type[msgspec.Struct], list[bytes]], ...] = (
        (HandoverOrder, [b'{"to": "peer-2"}', b"{}"]),
        (InviteOrder, [b'{"role": "member", "uses": 2, "expires_s": 900}', b"{}"]),
        (FaultOrder, [b'{"kind": "loss", "probability": 0.5, "seconds": 9}', b'{"kind": "delay", "ms": 5}']),
    )
    return [
        Decoder(f"http body:{kind.__name__}", examples, functools.partial(decode_json, kind=kind), (OperationError,))
        for kind, examples in orders
    ]


def _http_query() -> Decoder:
    def take(data: bytes) -> None:
        text = data.decode(errors="surrogateescape")
        parse_query(text, parameters_max=PARAMETERS_MAX)
        decode_component(text)

    return Decoder("http query", [b"prefix=a%2Fb&since=1", b"key=%C3%A9+x", b"q=a&r=b"], take, (QueryError, ValueError))


def _zeroconf() -> Decoder:
    """A multicast packet, from its bytes to the address that is dialled."""
    from zeroconf import (
        DNSAddress,
        DNSCache,
        DNSIncoming,
        DNSOutgoing,
        DNSPointer,
        DNSService,
        DNSText,
        ServiceStateChange,
    )

    discovery = ZeroconfDiscovery(
        network_id=samples.NETWORK_ID,
        peer_id=samples.identity(1).peer_id,
        bind="127.0.0.1",
        port=7400,
        slots_folder=Path(tempfile.gettempdir()),
    )
    instance, server = f"0123.{SERVICE_TYPE}", "pair-0123.local."
    text = b"".join(bytes([len(field)]) + field for field in (b"v=1", b"net=" + discovery._network_tag))
    packet = DNSOutgoing(0x8400)
    for answer in (
        DNSPointer(SERVICE_TYPE, 12, 1, 4500, instance),
        DNSService(instance, 33, 1, 120, 0, 0, 7401, server),
        DNSText(instance, 16, 1, 4500, text),
        DNSAddress(server, 1, 1, 120, bytes([127, 0, 0, 9])),
    ):
        packet.add_answer_at_time(answer, 0)

    def take(data: bytes) -> None:
        answers = DNSIncoming(data).answers()
        cache = DNSCache()
        cache.async_add_records(answers)
        names = [instance, *(answer.alias for answer in answers if isinstance(answer, DNSPointer))]
        for name in names[:4]:
            if name.endswith(SERVICE_TYPE):
                discovery._on_change(SimpleNamespace(cache=cache), SERVICE_TYPE, name, ServiceStateChange.Added)

    return Decoder("zeroconf", packet.packets(), take, ())


def _link_hello() -> Decoder:
    return Decoder("link hello", [frame_hello(bytes(60)), frame_hello(b"x")], hello_in, (RemoteProtocolError,))


def _stock_datagram() -> Decoder:
    message_id, place = bytes(20), bytes(range(20))
    examples = [
        framing.encode_request(message_id, "store", [place, place, "value"]),
        framing.encode_request(message_id, "find_node", [place, place]),
        framing.encode_reply(message_id, [[place, "192.0.2.1", 8468]]),
        framing.encode_reply(message_id, {"value": "x"}),
    ]
    bodies = [
        msgspec.msgpack.Decoder(list[framing.FoundEntry]),
        msgspec.msgpack.Decoder(framing.FoundValue),
    ]

    def take(data: bytes) -> None:
        decoded = framing.decode(data)
        for body in bodies:
            try:
                found = framing.decode_body(getattr(decoded, "body", getattr(decoded, "arguments", b"")), body)
                if isinstance(found, framing.FoundValue):
                    framing.value_of(bytes(found.value))
                else:
                    framing.contacts_of(found, told_by="192.0.2.1")
            except DecodeError:
                continue

    return Decoder("stock datagram", examples, take, (DecodeError,))


def _certificate() -> Decoder:
    keys = [ed25519.Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32) for number in (1, 2)]
    examples = [forged_leaf("a.pair.internal", key).public_bytes(Encoding.DER) for key in keys]
    return Decoder("certificate", examples, peer_id_from_certificate, (RemoteProtocolError,))


def _seed_address() -> Decoder:
    examples = [b"192.0.2.1:7400", b"[2001:db8::1]:7400", b"peer.example:7400"]
    return Decoder("seed address", examples, lambda data: parse_seed(data.decode(errors="replace")), (ConfigError,))
