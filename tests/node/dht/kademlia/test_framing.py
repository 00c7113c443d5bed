"""The stock wire's bytes: what the library writes is read, anything else is one error."""

import contextlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rpcudp.protocol import RPCProtocol

from node.dht.kademlia import framing
from node.dht.kademlia.framing import FoundEntry, FoundValue, StockReply, StockRequest
from protocol.errors import DecodeError, LocalProtocolError

ID = b"i" * 20
KEY = b"k" * 20
DECODERS = {
    framing.ping_arguments: tuple,
    framing.store_arguments: tuple,
    framing.find_arguments: tuple,
    framing.ping_reply: bytes,
    framing.store_reply: bool,
    framing.find_node_reply: list,
    framing.find_value_reply: (list, FoundValue),
}
PLAIN = st.binary(min_size=19, max_size=21) | st.booleans() | st.integers(0, 2**32) | st.text(max_size=8)
BODIES = st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3), max_leaves=8).map(msgspec.msgpack.encode)


class Sent:
    """The library's transport, as far as it is used: keeps what is sent."""

    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def sendto(self, datagram: bytes, address: tuple[str, int]) -> None:
        self.datagrams.append(datagram)


@pytest.mark.parametrize("value", ["x" * framing.VALUE_SIZE_MAX_BYTES, b"\xff" * framing.VALUE_SIZE_MAX_BYTES])
async def test_call_has_the_bytes_of_the_library(value: str | bytes) -> None:
    """The largest value fits exactly: 8,192 bytes of call."""
    library, sent = RPCProtocol(), Sent()
    library.transport = sent
    future = library.store(("127.0.0.1", 1), ID, KEY, value)
    (datagram,) = sent.datagrams

    assert framing.encode_request(datagram[1:21], "store", (ID, KEY, value)) == datagram
    request = framing.decode(datagram)
    assert isinstance(request, StockRequest)
    _, key, raw = framing.decode_body(request.arguments, framing.store_arguments)
    assert key == KEY
    assert framing.value_of(raw) == (value.encode() if isinstance(value, str) else value)
    future.cancel()
    library._outstanding.popitem()[1][1].cancel()


def test_call_one_byte_larger_is_refused() -> None:
    """An error with a name, before anything is sent."""
    with pytest.raises(LocalProtocolError):
        framing.encode_request(ID, "store", (ID, KEY, bytes(framing.VALUE_SIZE_MAX_BYTES + 1)))


def test_answer_is_read_back() -> None:
    """Lists of contacts and values, as stock nodes write them."""
    reply = framing.decode(framing.encode_reply(ID, [[KEY, "10.0.0.1", 5678]]))
    assert isinstance(reply, StockReply)
    assert framing.decode_body(reply.body, framing.find_value_reply) == [FoundEntry(KEY, "10.0.0.1", 5678)]

    reply = framing.decode(framing.encode_reply(ID, {"value": "text"}))
    assert isinstance(reply, StockReply)
    found = framing.decode_body(reply.body, framing.find_value_reply)
    assert isinstance(found, FoundValue)
    assert framing.value_of(found.value) == b"text"


@settings(deadline=None)
@given(kind=st.sampled_from([b"\x00", b"\x01", b"\x02", b""]), data=st.binary(max_size=200))
def test_any_bytes_decode_or_are_one_error(kind: bytes, data: bytes) -> None:
    """Nothing but ``DecodeError`` escapes, for any bytes at all (defect 29)."""
    try:
        message = framing.decode(kind + data)
    except DecodeError:
        return
    assert isinstance(message, StockRequest if (kind + data).startswith(b"\x00") else StockReply)
    assert message.message_id == (kind + data)[1:21]


@settings(deadline=None)
@given(body=st.binary(max_size=200) | BODIES)
def test_any_body_is_what_a_decoder_reads_or_is_one_error(body: bytes) -> None:
    """For each of them, whatever the others say of it."""
    for decoder, kinds in DECODERS.items():
        with contextlib.suppress(DecodeError):
            assert isinstance(framing.decode_body(body, decoder), kinds)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x91" * 8000,
        b"\x92\xa1a" + b"\x91" * 8000,
        bytes(framing.BODY_SIZE_MAX_BYTES + 1),
        msgspec.msgpack.encode(["ping"]),
        msgspec.msgpack.encode(["ping", [], 1]),
        msgspec.msgpack.encode({"ping": []}),
        msgspec.msgpack.encode([b"ping", []]),
        msgspec.msgpack.encode(["p" * 33, []]),
    ],
)
def test_odd_calls_are_decode_errors(body: bytes) -> None:
    """Nesting, other shapes and sizes end here."""
    with pytest.raises(DecodeError):
        framing.decode(b"\x00" + ID + body)


@pytest.mark.parametrize(
    ("told_to", "host", "may"),
    [
        pytest.param("127.0.0.1", "127.0.0.1", True, id="loopback to loopback"),
        pytest.param("127.0.0.1", "10.0.0.1", True, id="network to loopback"),
        pytest.param("10.0.0.2", "10.0.0.1", True, id="network to network"),
        pytest.param("10.0.0.2", "127.0.0.1", False, id="loopback to network"),
        pytest.param("::1", "::1", True, id="loopback of IPv6"),
        pytest.param("127.0.0.1", "2001:db8::1", False, id="other family"),
        pytest.param("127.0.0.1", "0.0.0.0", False, id="no address"),
        pytest.param("127.0.0.1", "224.0.0.1", False, id="multicast"),
        pytest.param("127.0.0.1", "255.255.255.255", False, id="broadcast"),
        pytest.param("127.0.0.1", "localhost", False, id="name"),
    ],
)
def test_defect_33_addresses_are_told_where_they_make_sense(told_to: str, host: str, may: bool) -> None:
    """The library tells a LAN peer of 127.0.0.1, where another program listens, and takes names for addresses."""
    assert framing.may_tell(host, told_to=told_to) is may
    entries = [FoundEntry(ID, host, 1)]
    assert len(framing.contacts_of(entries, told_by=told_to)) == may


@settings(deadline=None)
@given(st.binary(max_size=50))
def test_value_survives_the_wire(value: bytes) -> None:
    """Text or bytes, the same bytes come back."""
    assert framing.value_of(msgspec.msgpack.encode(framing.value_to_wire(value))) == value


@pytest.mark.parametrize("value", [None, 1, 1.5, True, ["list"], {"a": 1}, "é" * 4069])
def test_values_without_bytes_are_refused(value: object) -> None:
    """Only bytes and text are values (defect 15, 16), and no more than the wire carries."""
    with pytest.raises(DecodeError):
        framing.value_of(msgspec.msgpack.encode(value))
