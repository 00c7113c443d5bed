"""Every route of the table: who may use it, what it answers, and that the table itself is sound."""

import dataclasses
import random
from typing import Any

import pytest

from node.api.routes import ROUTES
from node.api.routing import Route, Router
from node.api.tokens import LEVELS
from node.faults.plane import FaultPlane
from node.shapes import FaultOrder
from protocol.errors import ConfigError
from tests.node.api.fake_peer import TOKENS, FakePeer, call, open_api

_CREDENTIALS = {"none": None, "unknown": "pairt_other", **TOKENS}


def _target(route: Route) -> str:
    target = route.path.replace("{key}", "some-key")
    return target + "?key=some-key" if route.path == "/v1/kv" and route.method != "GET" else target


def _order(route: Route) -> dict[str, Any]:
    """The body that a route cannot do without."""
    if route.body is not FaultOrder:
        return {}
    return {"body": b'{"kind": "cut"}', "headers": {"Content-Type": "application/json"}}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
@pytest.mark.parametrize("credential", _CREDENTIALS)
async def test_each_route_serves_its_level_and_above(route: Route, credential: str) -> None:
    """DESIGN section 5: each route declares its level; none < read < member < admin."""
    peer = FakePeer()
    async with open_api(peer, faults=FaultPlane(random=random.Random(7))) as server:
        method = "HEAD" if route.is_stream else route.method
        answer = await call(server, method, _target(route), token=_CREDENTIALS[credential], **_order(route))

    held = LEVELS.index(credential) if credential in LEVELS else 0
    if held >= LEVELS.index(route.level):
        assert answer.status in (*route.statuses, 404)
    else:
        assert peer.calls == []
        assert answer.status == (401 if credential in ("none", "unknown") else 403)
        if method != "HEAD":
            expected = {"none": "token-missing", "unknown": "token-unknown"}
            assert answer.problem() == expected.get(credential, "level-too-low")
        assert ("www-authenticate" in answer.headers) == (answer.status == 401)


@pytest.mark.parametrize("level", ["", None, "root"])
def test_a_route_without_a_level_stops_the_start(level: str | None) -> None:
    """DESIGN section 5: a route without a level stops the program at start."""
    route = dataclasses.replace(ROUTES[0], level=level)  # type: ignore[arg-type]

    with pytest.raises(ConfigError, match="no level"):
        Router([route])


def test_a_route_declared_twice_stops_the_start() -> None:
    """Which of two would answer is nobody's guess."""
    with pytest.raises(ConfigError, match="twice"):
        Router([ROUTES[0], ROUTES[0]])


async def test_health_says_503_until_joined() -> None:
    """DESIGN section 9: health needs no token and is 503 until the peer has joined."""
    peer = FakePeer(ready=False)
    async with open_api(peer) as server:
        before = await call(server, "GET", "/v1/health", token=None)
        peer.ready = True
        after = await call(server, "GET", "/v1/health", token=None)

    assert (before.status, before.json()) == (503, {"alive": True, "ready": False})
    assert (after.status, after.json()) == (200, {"alive": True, "ready": True})


async def test_views_of_the_peer_have_the_designed_shapes() -> None:
    """DESIGN section 8: the JSON shapes are fixed."""
    async with open_api() as server:
        status = (await call(server, "GET", "/v1/status")).json()
        members = (await call(server, "GET", "/v1/members")).json()
        leader = (await call(server, "GET", "/v1/leader")).json()

    assert set(status) == {
        "id", "name", "network", "version", "ready", "role", "term", "leader", "mode", "members", "keys_held",
        "uptime_s", "profile",
    }  # fmt: skip
    assert set(status["members"]) == {"alive", "suspect", "failed", "left"}
    assert set(members[0]) == {"id", "name", "address", "api", "state", "role", "incarnation", "rtt_ms", "since"}
    assert leader == dict.fromkeys(["id", "name", "address", "api", "term", "since"])


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b"", None, None),
        (b"{}", "application/json", None),
        (b'{"to": "peer-2"}', "application/json; charset=utf-8", "peer-2"),
    ],
)
async def test_handover_takes_an_optional_name(body: bytes, content_type: str | None, expected: str | None) -> None:
    """Without ``to`` the leader chooses."""
    peer = FakePeer()
    headers = {"Content-Type": content_type} if content_type else {}
    async with open_api(peer) as server:
        answer = await call(server, "POST", "/v1/leader/handover", headers=headers, body=body)

    assert answer.status == 200
    assert peer.calls == [("hand_over", expected)]


@pytest.mark.parametrize(
    ("body", "content_type", "problem"),
    [
        (b'{"to": 7}', "application/json", "bad-request"),
        (b'{"too": "x"}', "application/json", "bad-request"),
        (b"[]", "application/json", "bad-request"),
        (b"{", "application/json", "bad-request"),
        (b'{"to": NaN}', "application/json", "bad-request"),
        (b'{"to": "\xff"}', "application/json", "bad-request"),
        (b'{"to": "\\ud800"}', "application/json", "bad-request"),
        (b"[" * 60_000, "application/json", "bad-request"),
        (b'{"a":' * 10_000, "application/json", "bad-request"),
        (b'{"to": "x"}', "text/plain", "media-type-refused"),
        (b'{"to": "x"}', "application/x-www-form-urlencoded", "media-type-refused"),
        (b" " * 70_000, "application/json", "value-too-large"),
    ],
)
async def test_hostile_json_is_refused(body: bytes, content_type: str, problem: str) -> None:
    """Types are strict, depth and size bounded; a form of another site is no JSON (threats, section 1)."""
    peer = FakePeer()
    async with open_api(peer) as server:
        answer = await call(
            server, "POST", "/v1/leader/handover", headers={"Content-Type": content_type}, body=body
        )

    assert answer.problem() == problem
    assert peer.calls == []


async def test_metrics_show_the_peer_the_api_and_the_counters() -> None:
    """``GET /metrics`` in the Prometheus text format."""
    async with open_api(metrics={"datagrams sent_total": 7, "exchange_waiting": 2}) as server:
        await call(server, "GET", "/v1/status")
        await call(server, "GET", "/nowhere", token=None)
        answer = await call(server, "GET", "/metrics", token=TOKENS["read"])

    text = answer.body.decode()
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert 'pair_members{state="alive"} 1.0' in text
    assert 'pair_api_requests_total{method="GET",route="/v1/status",status="200"} 1.0' in text
    assert 'pair_api_requests_total{method="-",route="unmatched",status="404"} 1.0' in text
    assert "pair_datagrams_sent_total 7.0" in text
    assert "pair_exchange_waiting 2.0" in text


@pytest.mark.parametrize("path", ["/", "/docs", "/docs.js", "/pages.css", "/favicon.svg"])
async def test_pages_need_nothing_from_elsewhere(path: str) -> None:
    """The pages work offline, under a policy that allows nothing but our own files."""
    async with open_api() as server:
        answer = await call(server, "GET", path, token=None)

    assert answer.status == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b"//" not in answer.body.replace(b"http://www.w3.org/2000/svg", b"").replace(b"// ", b"")
