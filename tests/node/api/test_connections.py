"""Connections: capped, with deadlines on every wait, and a write that began is never lost with its client."""

import asyncio
from typing import cast

import pytest

from node.api.connection import ConnectionCaps
from node.api.limits import ApiLimits
from node.api.writes import OwnedWrites
from node.errors import OperationError
from protocol.limits import VALUE_SIZE_MAX_BYTES
from tests.loops import on_every_loop
from tests.node.api.fake_peer import (
    FakePeer,
    call,
    connected,
    open_api,
    parse_answer,
    read_to_end,
    request_head,
    send_raw,
)
from tests.waiting import until

_SHORT = ApiLimits(header_timeout_s=0.15, body_grace_s=0.15, lingering_s=0.05, response_timeout_s=0.15)


@pytest.mark.parametrize("sent", [b"", b"GET /v1/status HTTP/1.1\r\nHost: x\r\n"])
@on_every_loop
async def test_a_request_that_never_ends_is_closed(sent: bytes) -> None:
    """Slowloris: the whole head must arrive in time."""
    async with open_api(limits=_SHORT) as server:
        assert await send_raw(server, sent) == b""


@on_every_loop
async def test_a_head_that_trickles_in_is_closed_all_the_same() -> None:
    """Progress does not count before the head is whole (threats, section 4)."""
    async with asyncio.timeout(15), open_api(limits=_SHORT) as server, connected(server) as (reader, writer):
        closed = asyncio.create_task(read_to_end(reader))
        while not closed.done():
            writer.write(b"G")
            await asyncio.wait([closed], timeout=0.02)

        assert closed.result() in (b"",) or parse_answer(closed.result()).status == 400


@on_every_loop
async def test_an_idle_connection_is_closed() -> None:
    """After an answer the same time runs again."""
    async with open_api(limits=_SHORT) as server:
        received = await send_raw(server, request_head(server, "GET", "/v1/status"))

    assert parse_answer(received).status == 200


@on_every_loop
async def test_a_body_that_does_not_come_is_a_timeout() -> None:
    """408, and nothing reaches the peer."""
    peer = FakePeer()
    async with open_api(peer, limits=_SHORT) as server:
        head = request_head(server, "PUT", "/v1/kv/k", extra="Content-Length: 10\r\n")
        answer = parse_answer(await send_raw(server, head + b"abc"))

    assert (answer.status, answer.problem()) == (408, "request-timeout")
    assert peer.calls == []


@on_every_loop
async def test_a_body_that_makes_progress_gets_more_time() -> None:
    """The deadline moves with the bytes that came, so a slow line is no attack."""
    peer = FakePeer()
    limits = ApiLimits(body_grace_s=0.3, body_rate_min_bytes_per_s=100.0)
    pieces = [b"x" * 100] * 6
    head_extra = "Content-Length: 600\r\nConnection: close\r\n"
    async with asyncio.timeout(15), open_api(peer, limits=limits) as server, connected(server) as (reader, writer):
        answered = asyncio.create_task(read_to_end(reader))
        writer.write(request_head(server, "PUT", "/v1/kv/k", extra=head_extra))
        for piece in pieces:
            writer.write(piece)
            await asyncio.wait([answered], timeout=0.1)
        answer = await answered

    assert parse_answer(answer).status == 200
    assert peer.records["k"].value == b"".join(pieces)


@on_every_loop
async def test_a_client_that_leaves_in_its_body_changes_nothing() -> None:
    """Half a value is no value."""
    peer = FakePeer()
    async with open_api(peer) as server:
        async with connected(server) as (_, writer):
            writer.write(request_head(server, "PUT", "/v1/kv/k", extra="Content-Length: 10\r\n") + b"abc")
            await writer.drain()
        answer = await call(server, "GET", "/v1/kv/k")

    assert answer.status == 404
    assert [name for name, *_ in peer.calls] == ["get"]


@on_every_loop
async def test_a_client_that_does_not_read_is_cut_off() -> None:
    """Its answer is dropped when its time has passed."""
    peer = FakePeer()
    async with open_api(peer, limits=_SHORT) as server:
        await call(server, "PUT", "/v1/kv/k", body=b"x" * VALUE_SIZE_MAX_BYTES)
        async with asyncio.timeout(15), connected(server) as (reader, writer):
            transport = cast(asyncio.Transport, writer.transport)
            transport.pause_reading()
            writer.write(request_head(server, "GET", "/v1/kv/k") * 8)
            await until(lambda: server._serving is not None and len(server._serving._connections.connections) == 0)
            transport.resume_reading()
            received = await read_to_end(reader)

    assert len(received) < 8 * VALUE_SIZE_MAX_BYTES


@on_every_loop
async def test_too_many_connections_are_refused_until_one_ends() -> None:
    """The cap answers at once instead of letting clients wait."""
    async with open_api(limits=ApiLimits(connections_max=2)) as server, connected(server):
        async with connected(server):
            await _until_open(server, 2)
            refused = parse_answer(await send_raw(server, b""))
        await _until_open(server, 1)
        admitted = await call(server, "GET", "/v1/health", token=None)

    assert (refused.status, refused.problem()) == (429, "too-many-requests")
    assert refused.headers["retry-after"] == "1"
    assert admitted.status == 200


@on_every_loop
async def test_two_hundred_silent_connections_slow_nobody() -> None:
    """Slowloris: 200 of them, and the next client is answered as ever."""
    async with asyncio.timeout(30), open_api() as server:
        opened = await asyncio.gather(*(asyncio.open_connection("127.0.0.1", server.port) for _ in range(200)))
        for _, writer in opened:
            writer.write(b"GET /v1/status HT")
        answer = await call(server, "GET", "/v1/status")
        for _, writer in opened:
            writer.transport.abort()

    assert answer.status == 200


def test_one_address_takes_its_share_only() -> None:
    """The cap per address spares the loopback, which all local programs share."""
    caps = ConnectionCaps(ApiLimits(connections_max=6, connections_per_address_max=2))

    admitted = [caps.admit("192.0.2.1") for _ in range(3)]
    local = [caps.admit("127.0.0.1") for _ in range(3)]
    other = [caps.admit("2001:db8::1") for _ in range(2)]

    assert admitted == [True, True, False]
    assert local == [True] * 3
    assert other == [True, False]
    assert len(caps) == 6
    caps.release("192.0.2.1")
    assert caps.admit("192.0.2.1")


@on_every_loop
async def test_one_connection_serves_one_request_after_the_other() -> None:
    """Keep-alive and pipelining keep the order."""
    async with asyncio.timeout(15), open_api() as server:
        heads = [request_head(server, "GET", target) for target in ("/v1/leader", "/v1/kv/none")]
        last = request_head(server, "GET", "/v1/health", extra="Connection: close\r\n")
        received = await send_raw(server, b"".join([*heads, last]))

    statuses = [part.split()[0] for part in received.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [b"200", b"404", b"200"]


@pytest.mark.parametrize("handler_is_cancelled", [True, False])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@on_every_loop
async def test_a_write_outlives_its_client(method: str, handler_is_cancelled: bool) -> None:
    """A client that leaves loses its answer, never its write, whether or not aiohttp cancels the handler."""
    peer = FakePeer(gate=asyncio.Event())
    async with open_api(peer) as server:
        assert server._serving is not None
        server._serving._connections.handler_cancellation = handler_is_cancelled
        async with connected(server) as (_, writer):
            writer.write(request_head(server, method, "/v1/kv/k", extra="Content-Length: 1\r\n") + b"v")
            await until(lambda: peer.calls)
        await _until_open(server, 0)
        assert peer.gate is not None
        peer.gate.set()
        await until(lambda: peer.changes)

    assert peer.cancelled == 0
    assert peer.changes[0].key == "k"


@on_every_loop
async def test_a_read_ends_with_its_client() -> None:
    """Nobody waits for it any more."""
    peer = FakePeer(gate=asyncio.Event())
    async with open_api(peer) as server:
        async with connected(server) as (_, writer):
            writer.write(request_head(server, "GET", "/v1/kv/k"))
            await until(lambda: peer.calls)
        await until(lambda: peer.cancelled)

    assert peer.cancelled == 1


@on_every_loop
async def test_writes_are_bounded() -> None:
    """Clients that leave again and again cannot pile up writes."""
    writes = OwnedWrites(limit=1)
    gate = asyncio.Event()

    async def operation() -> int:
        await gate.wait()
        return 7

    first = asyncio.create_task(writes.run(operation, timeout_s=5))
    await until(lambda: len(writes))
    with pytest.raises(OperationError) as refused:
        await writes.run(operation, timeout_s=5)
    gate.set()

    assert refused.value.type == "too-many-requests"
    assert await first == 7
    await writes.close(grace_s=0.1)
    with pytest.raises(OperationError) as closed:
        await writes.run(operation, timeout_s=5)
    assert closed.value.type == "not-ready"


@on_every_loop
async def test_a_write_that_never_ends_is_an_unknown_outcome() -> None:
    """Every operation has an end, even when the peer beneath forgets its own."""
    writes = OwnedWrites(limit=1, overtime_s=0.01)

    with pytest.raises(OperationError) as overrun:
        await writes.run(asyncio.Event().wait, timeout_s=0.01)

    assert overrun.value.type == "outcome-unknown"
    assert len(writes) == 0


async def _until_open(server: object, count: int) -> None:
    """Wait until the server counts so many connections."""
    caps = server._serving._context.metrics._connections  # type: ignore[attr-defined]
    await until(lambda: len(caps) == count)
