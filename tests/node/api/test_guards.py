"""Who a request claims to talk to, and from where; and the shape of everything that is refused."""

import pytest

from node.api.limits import ApiLimits
from tests.node.api.fake_peer import TOKENS, FakePeer, call, open_api, parse_answer, send_raw

_GET = "GET /v1/status HTTP/1.1"
_TOKEN = f"Authorization: Bearer {TOKENS['read']}\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LocalHost:{port}", 200),
        ("[::1]:{port}", 200),
        ("pair.example:{port}", 200),
        ("elsewhere.example:9999", 200),
        ("published.example:1", 200),
        ("Published.example", 200),
        ("127.0.0.1", 403),
        ("127.0.0.1:1", 403),
        ("localhost.:{port}", 403),
        ("evil.example:{port}", 403),
        ("127.0.0.1.evil.example:{port}", 403),
        ("elsewhere.example:{port}", 403),
        ("", 403),
        ("user@127.0.0.1:{port}", 403),
        ("127.0.0.2:{port}", 403),
        ("0.0.0.0:{port}", 403),
        ("published.example:x", 403),
        ("published.example:1:1", 403),
        ("published.example:*", 403),
        ("published.example.evil.example:1", 403),
    ],
)
async def test_only_names_of_ours_with_our_port_are_answered(host: str, status: int) -> None:
    """DNS rebinding: the raw Host header must name this server (threats, section 4)."""
    async with open_api(hosts=("Pair.Example", "elsewhere.example:9999", "Published.example:*")) as server:
        named = host.format(port=server.port)
        answer = parse_answer(await send_raw(server, f"{_GET}\r\nHost: {named}\r\n{_TOKEN}\r\n".encode()))

    assert answer.status == status
    if status == 403:
        assert answer.problem() == "host-not-allowed"


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /v1/status HTTP/1.0\r\n",
        "GET /v1/status HTTP/1.1\r\n",
        "GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nHost: 127.0.0.1:{port}\r\n",
        "GET http://127.0.0.1:{port}/v1/status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n",
        "GET http://evil.example/v1/status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n",
        "GET http://127.0.0.1:{port}/v1/status HTTP/1.1\r\nHost: evil.example\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n",
        "CONNECT 127.0.0.1:{port} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n",
        "GET v1/status HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n",
        "GET /v1/status#x HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n",
    ],
)
async def test_a_request_without_one_certain_host_is_refused(request_text: str) -> None:
    """HTTP/1.0 without Host, two of them, and targets that would override it (threats, section 4)."""
    async with open_api() as server:
        text = request_text.format(port=server.port)
        answer = parse_answer(await send_raw(server, f"{text}{_TOKEN}\r\n".encode()))

    assert (answer.status, answer.problem()) == (400, "bad-request")


async def test_http_1_0_with_a_host_is_answered() -> None:
    """Old clients may ask."""
    async with open_api() as server:
        head = f"GET /v1/status HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\n{_TOKEN}\r\n"
        answer = parse_answer(await send_raw(server, head.encode()))

    assert answer.status == 200


async def test_bound_everywhere_the_address_that_was_reached_is_ours() -> None:
    """A container that listens on all addresses is asked by one of them; names still have to be listed."""
    async with open_api(bind="0.0.0.0") as server:
        reached = f"{_GET}\r\nHost: 127.0.0.5:{server.port}\r\n{_TOKEN}\r\n".encode()
        own = parse_answer(await send_raw(server, reached, host="127.0.0.5"))
        other = parse_answer(await send_raw(server, reached, host="127.0.0.6"))

    assert (own.status, other.status) == (200, 403)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("Origin", "http://127.0.0.1:{port}", 200),
        ("Origin", "http://localhost:{port}", 403),
        ("Origin", "https://127.0.0.1:{port}", 403),
        ("Origin", "http://127.0.0.1:1", 403),
        ("Origin", "http://evil.example", 403),
        ("Origin", "null", 403),
        ("Sec-Fetch-Site", "same-origin", 200),
        ("Sec-Fetch-Site", "none", 200),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Sec-Fetch-Site", "cross-site", 403),
    ],
)
async def test_requests_of_other_sites_are_refused(name: str, value: str, status: int) -> None:
    """Cross-site requests: ``Origin`` and ``Sec-Fetch-Site`` must be ours; no answer allows another site to read."""
    async with open_api() as server:
        answer = await call(server, "GET", "/v1/status", headers={name: value.format(port=server.port)})

    assert answer.status == status
    assert not any(header.startswith("access-control-") for header in answer.headers)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "identity", "x"])
async def test_encoded_bodies_are_refused(coding: str) -> None:
    """A bomb is never unpacked (threats, section 4)."""
    peer = FakePeer()
    async with open_api(peer) as server:
        answer = await call(server, "PUT", "/v1/kv/k", headers={"Content-Encoding": coding}, body=b"\x1f\x8b\x08")

    assert (answer.status, answer.problem()) == (415, "encoding-refused")
    assert peer.calls == []


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Basic cGFpcg==", "pairt_admin", "Bearer pairt_admin x", "Bearer é", "Token pairt_admin"],
)
async def test_what_is_no_token_of_ours_is_refused(authorization: str) -> None:
    """Only ``Authorization: Bearer TOKEN`` counts."""
    async with open_api() as server:
        answer = await call(server, "GET", "/v1/status", token=None, headers={"Authorization": authorization})
        in_query = await call(server, "GET", "/v1/status?token=pairt_admin", token=None)
        in_cookie = await call(server, "GET", "/v1/status", token=None, headers={"Cookie": "token=pairt_admin"})

    assert answer.status == in_query.status == in_cookie.status == 401
    assert answer.problem() in ("token-missing", "token-unknown")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/v1/status", "GET, HEAD"),
        ("PATCH", "/v1/kv/k", "DELETE, GET, PUT, HEAD"),
        ("GET", "/v1/leader/handover", "POST"),
        ("OPTIONS", "/v1/kv", "DELETE, GET, PUT, HEAD"),
    ],
)
async def test_a_wrong_method_names_the_right_ones(method: str, path: str, allowed: str) -> None:
    """405 with ``Allow`` (RFC 9110, section 15.5.6)."""
    async with open_api() as server:
        answer = await call(server, method, path)

    assert (answer.status, answer.problem()) == (405, "method-not-allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    "path", ["/v1", "/v1/", "/v1/status/", "/V1/status", "//v1/status", "/v1/../v1/status", "/v1/kvx", "/v1%2Fstatus"]
)
async def test_an_unknown_path_is_not_found(path: str) -> None:
    """Paths are matched as they are sent."""
    async with open_api() as server:
        answer = await call(server, "GET", path)

    assert (answer.status, answer.problem()) == (404, "not-found")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"BREW /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/kv/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nbroken header\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
        b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n",
    ],
)
async def test_what_is_no_request_gets_a_problem_or_silence(data: bytes) -> None:
    """The HTTP library's own errors are problem documents as well, without a word about the library."""
    async with open_api(limits=ApiLimits(header_timeout_s=0.1)) as server:
        received = await send_raw(server, data)
        alive = await call(server, "GET", "/v1/health", token=None)

    if received:
        answer = parse_answer(received)
        assert (answer.status, answer.problem()) == (400, "bad-request")
        assert b"aiohttp" not in received.lower()
    assert alive.status == 200
