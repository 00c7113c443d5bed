"""``/v1/faults``: who may break the network, with what words, and what is said when they are wrong."""

import json
import random
import socket
from typing import Any

import pytest

from node.api.routes_faults import is_loopback
from node.faults.plane import FaultPlane
from tests.node.api.fake_peer import TOKENS, Answer, call, open_api, parse_answer, send_raw

ID = "ab" * 32
JSON = {"Content-Type": "application/json"}


def _plane() -> FaultPlane:
    return FaultPlane(random=random.Random(7))


async def _post(body: bytes) -> Answer:
    async with open_api(faults=_plane()) as server:
        return await call(server, "POST", "/v1/faults", headers=JSON, body=body)


async def test_a_fault_is_made_listed_and_cleared() -> None:
    """The life of a fault; ids tell them apart."""
    async with open_api(faults=_plane()) as server:
        made = (await call(server, "POST", "/v1/faults", headers=JSON, body=b'{"kind":"cut"}')).json()
        order = json.dumps({"kind": "loss", "peers": [ID], "probability": 0.5, "seconds": 5, "direction": "in"})
        other = (await call(server, "POST", "/v1/faults", headers=JSON, body=order.encode())).json()
        listed = (await call(server, "GET", "/v1/faults")).json()
        cleared = (await call(server, "DELETE", f"/v1/faults?id={made['id']}")).json()
        again = await call(server, "DELETE", f"/v1/faults?id={made['id']}")
        rest = (await call(server, "DELETE", "/v1/faults")).json()
        empty = (await call(server, "GET", "/v1/faults")).json()

    assert 59 < made.pop("expires_in_s") <= 60
    assert made == {
        "id": made["id"], "kind": "cut", "peers": None, "direction": "both", "probability": None, "ms": None,
        "jitter_ms": None,
    }  # fmt: skip
    assert (other["peers"], other["probability"], other["direction"]) == ([ID], 0.5, "in")
    assert [fault["id"] for fault in listed] == [made["id"], other["id"]]
    assert [fault["id"] for fault in cleared] == [made["id"]]
    assert (again.status, again.problem()) == (404, "not-found")
    assert [fault["id"] for fault in rest] == [other["id"]]
    assert empty == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "kind"),
        ({"kind": "flood"}, "kind"),
        ({"kind": "cut", "peer": ID}, "peer"),
        ({"kind": "cut", "peers": []}, "peers"),
        ({"kind": "cut", "peers": ["peer-2"]}, "peers"),
        ({"kind": "cut", "peers": [ID + "\n"]}, "peers"),
        ({"kind": "cut", "direction": "up"}, "direction"),
        ({"kind": "cut", "seconds": 0}, "seconds"),
        ({"kind": "cut", "seconds": 3601}, "seconds"),
        ({"kind": "cut", "seconds": "60"}, "seconds"),
        ({"kind": "cut", "probability": 0.5}, "probability"),
        ({"kind": "loss"}, "probability"),
        ({"kind": "loss", "probability": 1.5}, "probability"),
        ({"kind": "loss", "probability": 0}, "probability"),
        ({"kind": "loss", "probability": 0.5, "ms": 5}, "ms"),
        ({"kind": "delay"}, "ms"),
        ({"kind": "delay", "ms": -1}, "ms"),
        ({"kind": "delay", "ms": 60_001}, "ms"),
        ({"kind": "delay", "ms": 5, "jitter_ms": -1}, "jitter_ms"),
        ({"kind": "reorder", "probability": 0.1, "jitter_ms": 1}, "jitter_ms"),
    ],
)
async def test_a_wrong_field_is_named(fields: dict[str, Any], named: str) -> None:
    """Nothing is begun by half."""
    answer = await _post(json.dumps(fields).encode())

    assert (answer.status, answer.problem()) == (400, "bad-request")
    assert f"`{named}`" in answer.json()["detail"] or f"$.{named}" in answer.json()["detail"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"kind":"loss","probability":NaN}'])
async def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    """An empty order must not cut a peer off from everybody."""
    assert (await _post(body)).problem() == "bad-request"


async def test_too_many_faults_are_refused() -> None:
    """Each costs a look for each datagram."""
    async with open_api(faults=_plane()) as server:
        statuses = [
            (await call(server, "POST", "/v1/faults", headers=JSON, body=b'{"kind":"cut"}')).status for _ in range(65)
        ]

    assert statuses == [200] * 64 + [429]


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_without_the_flag_there_is_no_plane(method: str) -> None:
    """A peer cannot be broken by whoever holds its admin token, unless it was started for it."""
    async with open_api() as server:
        answer = await call(server, method, "/v1/faults", headers=JSON, body=b'{"kind":"cut"}')

    assert (answer.status, answer.problem()) == (403, "faults-disabled")
    assert "--faults" in answer.json()["next_step"]


@pytest.mark.parametrize("level", ["read", "member"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_faults_are_the_admins(method: str, level: str) -> None:
    """Lower levels learn nothing of them."""
    async with open_api(faults=_plane()) as server:
        answer = await call(server, method, "/v1/faults", token=TOKENS[level], headers=JSON, body=b'{"kind":"cut"}')

    assert (answer.status, answer.problem()) == (403, "level-too-low")


def _own_address() -> str | None:
    """An address of this machine that is not the loopback's; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return str(probe.getsockname()[0])


async def test_other_machines_are_refused() -> None:
    """From an address that is not the loopback's, whatever the token."""
    address = _own_address()
    if address is None:
        pytest.skip("this machine has no address but the loopback")
    async with open_api(faults=_plane(), bind="0.0.0.0") as server:
        head = (
            f"GET /v1/faults HTTP/1.1\r\nHost: {address}:{server.port}\r\nConnection: close\r\n"
            f"Authorization: Bearer {TOKENS['admin']}\r\n\r\n"
        )
        answer = parse_answer(await send_raw(server, head.encode(), host=address))

    assert (answer.status, answer.problem()) == (403, "loopback-only")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("::ffff:127.0.0.1", True), ("192.0.2.1", False),
     ("::ffff:192.0.2.1", False), ("fe80::1%eth0", False)],
)  # fmt: skip
def test_what_is_the_loopback(host: str, expected: bool) -> None:
    """As sockets name the other end."""
    assert is_loopback(host) == expected
