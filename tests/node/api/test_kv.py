"""Keys and values: any key, exact bytes, versions, conditions, bounds (DESIGN sections 8 and 9)."""

import contextlib
import json
from collections.abc import Mapping
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.api.limits import ApiLimits
from node.api.percent import QueryError, decode_component, parse_query
from node.api.routes_kv import _explain_text
from node.errors import OperationError
from node.shapes import Asked, Explain
from protocol.ids import peer_id_of
from protocol.limits import VALUE_SIZE_MAX_BYTES
from tests.node.api.fake_peer import (
    PEER_ID,
    TOKENS,
    WRITER,
    FakePeer,
    call,
    open_api,
    parse_answer,
    request_head,
    send_raw,
)

_KEYS = [
    "a",
    "a/b",
    "/",
    "//",
    "..",
    "../../etc/passwd",
    ".",
    "a%2Fb",
    "%",
    "?",
    "#",
    "&=+",
    " ",
    "a b",
    "\x00",
    "\x01\x1b]0;x\x07\r\n",
    "\u202eright",
    "ключ",
    "钥匙",
    "🗝",
    "e\u0301",
    "é",
    "k" * 512,
    "é" * 256,
    "/v1/kv/x",
]


@pytest.mark.parametrize("key", _KEYS)
@pytest.mark.parametrize("form", ["/v1/kv/{}", "/v1/kv?key={}"])
async def test_any_key_is_stored_as_it_is(key: str, form: str) -> None:
    """1 to 512 bytes of UTF-8, any character, no normalisation; decoded exactly once."""
    peer = FakePeer()
    target = form.format(quote(key, safe=""))
    async with open_api(peer) as server:
        written = await call(server, "PUT", target, body=b"v")
        read = await call(server, "GET", target)

    assert written.status == 200
    assert written.json()["key"] == key
    assert list(peer.records) == [key]
    assert read.body == b"v"


@pytest.mark.parametrize(
    ("target", "key"),
    [
        (b"/v1/kv/a/b", "a/b"),
        (b"/v1/kv//", "/"),
        (b"/v1/kv/../x", "../x"),
        (b"/v1/kv/a+b", "a+b"),
        (b"/v1/kv?key=a+b", "a b"),
        (b"/v1/kv?key=a/b", "a/b"),
        (b"/v1/kv?key=a%3D=b", "a==b"),
        (b"/v1/kv/%252F", "%2F"),
        (b"/v1/kv?%6bey=a", "a"),
    ],
)
async def test_a_target_is_decoded_once_and_never_normalised(target: bytes, key: str) -> None:
    """A literal ``/`` is part of the key; ``..`` and ``%2F`` mean nothing special."""
    peer = FakePeer()
    async with open_api(peer) as server:
        answer = await call(server, "PUT", target, body=b"v")

    assert answer.status == 200
    assert list(peer.records) == [key]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize(
    "target",
    [
        b"/v1/kv/",
        b"/v1/kv?key=",
        b"/v1/kv/%FF",
        b"/v1/kv?key=%FF",
        b"/v1/kv?key=%C3",
        b"/v1/kv/%ED%A0%80",
        b"/v1/kv/%",
        b"/v1/kv/%2",
        b"/v1/kv/%zz",
        b"/v1/kv/" + b"k" * 513,
        b"/v1/kv?key=" + b"%C3%A9" * 257,
    ],
)
async def test_what_is_no_key_is_refused(method: str, target: bytes) -> None:
    """Empty, too long, not UTF-8, broken escapes: ``key-invalid``, and nothing reaches the peer."""
    peer = FakePeer()
    async with open_api(peer) as server:
        answer = await call(server, method, target, body=b"v" if method == "PUT" else None)

    assert (answer.status, answer.problem()) == (400, "key-invalid")
    assert peer.calls == []


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/v1/kv?prefix=a&key=b"),
        ("GET", "/v1/kv?prefix=a&consistency=quorum"),
        ("GET", "/v1/kv/a?consistency=strong"),
        ("GET", "/v1/kv/a?key=b"),
        ("GET", "/v1/kv?key=a&key=b"),
        ("GET", "/v1/kv?key=a&other=%FF"),
        ("GET", "/v1/kv?" + "&" * 17),
        ("GET", "/v1/status?verbose=1"),
        ("PUT", "/v1/kv/a?key=b"),
        ("DELETE", "/v1/kv?prefix=a"),
        ("GET", "/v1/kv-watch?key=a&prefix=b"),
    ],
)
async def test_a_query_that_is_not_understood_is_refused(method: str, target: str) -> None:
    """Unknown, repeated, contradicting or too many parameters are errors, never ignored in silence."""
    peer = FakePeer()
    async with open_api(peer) as server:
        answer = await call(server, method, target)

    assert answer.problem() == "bad-request"
    assert peer.calls == []


@pytest.mark.parametrize("value", [b"", b"text", bytes(range(256)), b"\r\n\r\n", b"x" * VALUE_SIZE_MAX_BYTES])
async def test_values_come_back_byte_for_byte(value: bytes) -> None:
    """An empty value is legal, and 1 MiB is."""
    async with open_api() as server:
        await call(server, "PUT", "/v1/kv/k", body=value)
        answer = await call(server, "GET", "/v1/kv/k", token=TOKENS["read"])

    assert answer.body == value
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["pair-writer"] == peer_id_of(WRITER).hex()


@pytest.mark.parametrize(
    ("extra", "body"),
    [
        (f"Content-Length: {VALUE_SIZE_MAX_BYTES + 1}\r\n", b""),
        (f"Content-Length: {2**62}\r\n", b"x" * 1000),
        ("Transfer-Encoding: chunked\r\n", b"%x\r\n" % (VALUE_SIZE_MAX_BYTES + 1) + b"x" * (VALUE_SIZE_MAX_BYTES + 1)),
        (f"Content-Length: {VALUE_SIZE_MAX_BYTES + 1}\r\nExpect: 100-continue\r\n", b""),
    ],
    ids=["announced", "absurd", "chunked", "asked-before"],
)
async def test_a_value_too_large_is_refused_before_anything_is_stored(extra: str, body: bytes) -> None:
    """1 MiB is the limit: 413 by the announced length before a byte is read, or as soon as it is crossed."""
    peer = FakePeer()
    async with open_api(peer, limits=ApiLimits(lingering_s=0.01)) as server:
        answer = parse_answer(await send_raw(server, request_head(server, "PUT", "/v1/kv/k", extra=extra) + body))

    assert (answer.status, answer.problem()) == (413, "value-too-large")
    assert peer.calls == []


async def test_a_chunked_value_is_stored_whole() -> None:
    """A client need not know the size before it begins."""
    peer = FakePeer()
    extra = "Transfer-Encoding: chunked\r\nConnection: close\r\n"
    async with open_api(peer) as server:
        head = request_head(server, "PUT", "/v1/kv/k", extra=extra)
        answer = parse_answer(await send_raw(server, head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))

    assert answer.status == 200
    assert peer.records["k"].value == b"abcde"


async def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    """``Expect: 100-continue`` (RFC 9110, section 10.1.1): curl sends it with large bodies."""
    extra = "Content-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n"
    async with open_api() as server:
        answer = await send_raw(server, request_head(server, "PUT", "/v1/kv/k", extra=extra) + b"abc")

    interim, _, final = answer.partition(b"\r\n\r\n")
    assert interim == b"HTTP/1.1 100 Continue"
    assert parse_answer(final).status == 200


async def test_writing_reading_and_deleting_tell_versions() -> None:
    """``ETag`` is the quoted version, of writes as of reads; deleting an absent key is no error."""
    async with open_api() as server:
        written = await call(server, "PUT", "/v1/kv/k", body=b"1")
        read = await call(server, "GET", "/v1/kv/k")
        head = await call(server, "HEAD", "/v1/kv/k")
        deleted = await call(server, "DELETE", "/v1/kv/k")
        again = await call(server, "DELETE", "/v1/kv/k")
        missing = await call(server, "GET", "/v1/kv/k")

    version = written.json()["version"]
    assert written.json() == {
        "key": "k", "version": version, "holders": [PEER_ID], "wanted": 1, "existed": False,
    }  # fmt: skip
    assert written.headers["etag"] == read.headers["etag"] == head.headers["etag"] == f'"{version}"'
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "1")
    assert (deleted.json()["existed"], again.json()["existed"]) == (True, False)
    assert (missing.status, missing.problem()) == (404, "not-found")


@pytest.mark.parametrize(
    ("headers", "if_version"),
    [
        ({}, None),
        ({"If-None-Match": "*"}, "none"),
        ({"If-Match": '"00ff-12"'}, "00ff-12"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_conditions_reach_the_peer(method: str, headers: Mapping[str, str], if_version: str | None) -> None:
    """``If-Match`` names a version, ``If-None-Match: *`` means absent."""
    peer = FakePeer()
    async with open_api(peer) as server:
        await call(server, method, "/v1/kv/k", headers=headers, body=b"v" if method == "PUT" else None)

    expected = ("put", "k", b"v", None, if_version, 10.0) if method == "PUT" else ("delete", "k", if_version, 10.0)
    assert peer.calls == [expected]


@pytest.mark.parametrize(
    "headers",
    [
        "If-Match: *",
        "If-Match: v1",
        'If-Match: W/"v1"',
        'If-Match: "v1", "v2"',
        'If-Match: ""',
        'If-Match: "none"',
        'If-Match: "v1"\r\nIf-Match: "v2"',
        'If-Match: "v1"\r\nIf-None-Match: *',
        'If-None-Match: "v1"',
        "Pair-TTL: soon",
        "Pair-TTL: 0",
        "Pair-TTL: -1",
        "Pair-TTL: nan",
        "Pair-TTL: inf",
        "Pair-TTL: 1_0",
        "Pair-TTL: 1\r\nPair-TTL: 2",
        "Pair-Timeout: 61",
        "Pair-Timeout: 0",
    ],
)
async def test_headers_that_mean_nothing_certain_are_refused(headers: str) -> None:
    """A condition that is misread would overwrite what it should protect."""
    peer = FakePeer()
    async with open_api(peer) as server:
        name, _, rest = headers.partition(": ")
        answer = await call(server, "PUT", "/v1/kv/k", headers={name: rest}, body=b"v")

    assert answer.problem() == "bad-request"
    assert peer.calls == []


async def test_a_version_mismatch_tells_the_stored_version() -> None:
    """412 with ``current_version``, so that the caller can decide."""
    async with open_api() as server:
        first = await call(server, "PUT", "/v1/kv/k", body=b"1")
        refused = await call(server, "PUT", "/v1/kv/k", headers={"If-None-Match": "*"}, body=b"2")
        accepted = await call(server, "PUT", "/v1/kv/k", headers={"If-Match": first.headers["etag"]}, body=b"2")

    assert (refused.status, refused.problem()) == (412, "version-mismatch")
    assert refused.json()["current_version"] == first.json()["version"]
    assert accepted.status == 200


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
async def test_a_known_version_is_not_sent_again(form: str) -> None:
    """304 for ``If-None-Match`` on a read (RFC 9110, section 13.1.2)."""
    async with open_api() as server:
        etag = (await call(server, "PUT", "/v1/kv/k", body=b"1")).headers["etag"]
        same = await call(server, "GET", "/v1/kv/k", headers={"If-None-Match": form.format(etag)})
        other = await call(server, "GET", "/v1/kv/k", headers={"If-None-Match": '"other"'})

    assert (same.status, same.body, same.headers["etag"]) == (304, b"", etag)
    assert (other.status, other.body) == (200, b"1")


async def test_time_to_live_and_timeout_reach_the_peer() -> None:
    """``Pair-TTL`` and ``Pair-Timeout`` are seconds; a value that expires says when."""
    peer = FakePeer()
    async with open_api(peer) as server:
        headers = {"Pair-TTL": "86400", "Pair-Timeout": "2.5"}
        await call(server, "PUT", "/v1/kv/k", headers=headers, body=b"v")
        read = await call(server, "GET", "/v1/kv/k?consistency=quorum", headers={"Pair-Timeout": "3"})

    assert peer.calls == [("put", "k", b"v", 86400.0, None, 2.5), ("get", "k", True, 3.0)]
    assert read.headers["pair-expires"] == "1970-01-02T00:00:00.000Z"


async def test_answers_say_why_when_asked() -> None:
    """``Pair-Explain: 1`` puts compact ASCII JSON into a header; without it there is none."""
    async with open_api() as server:
        written = await call(server, "PUT", "/v1/kv/k", headers={"Pair-Explain": "1"}, body=b"v")
        read = await call(server, "GET", "/v1/kv/k", headers={"Pair-Explain": "1"})
        plain = await call(server, "GET", "/v1/kv/k")

    expected = {
        "served_by": PEER_ID,
        "holders": [PEER_ID],
        "asked": [{"id": PEER_ID, "name": "péer", "answer": "found", "version": None, "ms": 0.25}],
    }
    assert json.loads(written.headers["pair-explain"]) == json.loads(read.headers["pair-explain"]) == expected
    assert read.headers["pair-explain"].isascii()
    assert "pair-explain" not in plain.headers
    assert "explain" not in written.json()


def test_a_long_explanation_is_cut_to_one_header_line() -> None:
    """Common clients refuse header lines above 8 KiB."""
    asked = [Asked(id=PEER_ID, name="é" * 63, answer="no answer", version="v" * 33, ms=1.0)] * 300
    text = _explain_text(Explain(served_by=PEER_ID, holders=[PEER_ID] * 8, asked=asked))

    assert len(text) <= 7168
    assert json.loads(text)["asked"]


async def test_a_listing_says_whether_it_is_complete() -> None:
    """``GET /v1/kv?prefix=`` answers a list; ``Pair-Complete`` says whether every member answered."""
    peer = FakePeer()
    async with open_api(peer) as server:
        for key in ("a/1", "a/2", "b"):
            await call(server, "PUT", f"/v1/kv/{key}", body=b"12")
        some = await call(server, "GET", "/v1/kv?prefix=a%2F")
        everything = await call(server, "GET", "/v1/kv")

    assert [(entry["key"], entry["size"]) for entry in some.json()] == [("a/1", 2), ("a/2", 2)]
    assert some.headers["pair-complete"] == "true"
    assert set(some.json()[0]) == {"key", "version", "size", "expires"}
    assert len(everything.json()) == 3


@pytest.mark.parametrize(
    ("failure", "status", "problem"),
    [
        (OperationError("not-enough-holders", "1 of 3", next_step="it may or may not survive"), 503, None),
        (OperationError("quota-exceeded", "100,000 records"), 429, None),
        (OperationError("disk-full", "no space"), 507, None),
        (OperationError("outcome-unknown", "timed out"), 503, None),
        (RuntimeError("a defect with a secret"), 500, "internal"),
        (TimeoutError(), 503, "outcome-unknown"),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
async def test_failures_of_the_peer_become_problems(
    method: str, failure: Exception, status: int, problem: str | None
) -> None:
    """One table maps errors to status; a defect is logged and tells a client nothing."""
    async with open_api(FakePeer(failure=failure)) as server:
        answer = await call(server, method, "/v1/kv/k", body=b"v" if method == "PUT" else None)

    assert answer.status == status
    assert answer.problem() == (problem or failure.type)  # type: ignore[attr-defined]
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body


@given(st.text())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_decoding_undoes_encoding(text: str) -> None:
    """Any text, percent-encoded once, is decoded to itself, as a segment and in a query."""
    try:
        encoded = quote(text, safe="")
    except UnicodeEncodeError:
        return
    assert decode_component(encoded) == text
    assert parse_query(f"a={encoded}&b=", parameters_max=2) == {"a": text, "b": ""}


@given(st.binary(max_size=64))
def test_decoding_raises_value_errors_only(data: bytes) -> None:
    """For any bytes that a request line may hold; what they do give is text, in which no half character is left."""
    text = data.decode("utf-8", "surrogateescape")
    texts: list[str] = []
    with contextlib.suppress(ValueError):
        texts.append(decode_component(text))
    with contextlib.suppress(QueryError):
        for name, value in parse_query(text, parameters_max=3).items():
            texts += (name, value)

    assert all(each.encode().decode() == each for each in texts)

