"""Event streams: resumable, bounded, alive, and ended in order; and the stop of the whole server."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from typing import cast

import pytest

from node.api import ApiServer
from node.api.limits import ApiLimits
from node.errors import OperationError
from node.events import EVENTS_WAITING_MAX
from node.service import WatchedChange
from node.shapes import text_of_value
from tests.loops import on_every_loop
from tests.node.api.fake_peer import (
    FakePeer,
    call,
    connected,
    open_api,
    parse_answer,
    read_to_end,
    request_head,
)
from tests.waiting import until


async def _open_stream(
    server: ApiServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: str, extra: str = ""
) -> dict[str, str]:
    """Ask for a stream (HTTP/1.0, so that nothing is chunked), read its head and opening, return the headers."""
    writer.write(request_head(server, "GET", target, version="1.0", extra=extra))
    head = parse_answer(await reader.readuntil(b"\r\n\r\n"))
    assert head.status == 200, head
    assert await reader.readuntil(b"\n\n") == b"retry: 1000\n\n"
    return head.headers


async def _event(reader: asyncio.StreamReader) -> dict[str, str]:
    text = (await reader.readuntil(b"\n\n")).decode()
    return dict(line.split(": ", 1) for line in text.strip().split("\n"))


@on_every_loop
async def test_a_watch_shows_puts_and_deletes() -> None:
    """Each change is one event with its cursor as id; values are text where they can be."""
    peer = FakePeer()
    async with asyncio.timeout(15), open_api(peer) as server, connected(server) as (reader, writer):
        headers = await _open_stream(server, reader, writer, "/v1/kv-watch?prefix=a")
        await until(lambda: peer.calls)
        await call(server, "PUT", "/v1/kv/a1", body="é\n".encode())
        await call(server, "PUT", "/v1/kv/b", body=b"not watched")
        await call(server, "PUT", "/v1/kv/a2", body=b"\xff")
        await call(server, "DELETE", "/v1/kv/a1")
        events = [await _event(reader) for _ in range(3)]

    versions = [change.version for change in peer.changes if change.key != "b"]
    assert headers["content-type"] == "text/event-stream"
    assert headers["cache-control"] == "no-store"
    assert [event["event"] for event in events] == ["put", "put", "delete"]
    assert [event["id"] for event in events] == ["1", "3", "4"]
    assert [json.loads(event["data"]) for event in events] == [
        {"event": "put", "key": "a1", "value": "é\n", "encoding": "utf-8", "version": versions[0]},
        {"event": "put", "key": "a2", "value": "/w==", "encoding": "base64", "version": versions[1]},
        {"event": "delete", "key": "a1", "value": None, "encoding": None, "version": versions[2]},
    ]


@pytest.mark.parametrize(
    ("target", "extra", "since"),
    [
        ("/v1/kv-watch?key=k", "", None),
        ("/v1/kv-watch?key=k&since=1", "", "1"),
        ("/v1/kv-watch?key=k", "Last-Event-ID: 2\r\n", "2"),
        ("/v1/kv-watch?key=k&since=0", "Last-Event-ID: 2\r\n", "2"),
        ("/v1/kv-watch?key=k&since=", "", None),
    ],
)
@on_every_loop
async def test_a_watch_resumes_after_the_last_event_seen(target: str, extra: str, since: str | None) -> None:
    """A browser repeats its first query and adds ``Last-Event-ID``, which is newer."""
    peer = FakePeer()
    async with asyncio.timeout(15), open_api(peer) as server, connected(server) as (reader, writer):
        for value in (b"1", b"2", b"3"):
            await call(server, "PUT", "/v1/kv/k", body=value)
        await _open_stream(server, reader, writer, target, extra)
        await until(lambda: peer.calls[-1][0] == "watch")
        if since is None:
            await call(server, "PUT", "/v1/kv/k", body=b"4")
        event = await _event(reader)

    assert ("watch", "k", True, since) in peer.calls
    assert event["id"] == str(int(since or 3) + 1)


@pytest.mark.parametrize("cursor", ["x" * 513, "caf%C3%A9", "a%0Ab", "a%00"])
@on_every_loop
async def test_a_cursor_that_cannot_be_one_is_refused(cursor: str) -> None:
    """Nothing of a client reaches the stream's own syntax."""
    async with open_api() as server:
        answer = await call(server, "GET", f"/v1/kv-watch?since={cursor}")

    assert (answer.status, answer.problem()) == (400, "bad-request")


@on_every_loop
async def test_events_show_what_happens() -> None:
    """``GET /v1/events``: kind and body of each."""
    peer = FakePeer()
    async with asyncio.timeout(15), open_api(peer) as server, connected(server) as (reader, writer):
        await _open_stream(server, reader, writer, "/v1/events")
        await until(lambda: len(peer.bus))
        peer.bus.publish("leader", {"id": None, "term": 3})
        event = await _event(reader)

    assert event == {"event": "leader", "data": '{"id":null,"term":3}'}


@on_every_loop
async def test_a_silent_stream_shows_that_it_lives() -> None:
    """A comment after each while, so that both ends notice a dead connection."""
    limits = ApiLimits(heartbeat_s=0.05)
    async with asyncio.timeout(15), open_api(limits=limits) as server, connected(server) as (reader, writer):
        await _open_stream(server, reader, writer, "/v1/events")

        assert [await reader.readuntil(b"\n\n") for _ in range(2)] == [b": alive\n\n"] * 2


@on_every_loop
async def test_streams_are_bounded() -> None:
    """Each holds a connection for long; the next one is told to come back."""
    limits = ApiLimits(streams_max=1)
    async with asyncio.timeout(15), open_api(limits=limits) as server:
        async with connected(server) as (reader, writer):
            await _open_stream(server, reader, writer, "/v1/events")
            refused = await call(server, "GET", "/v1/events")
        async with connected(server) as (reader, writer):
            await until(lambda: server._serving is not None and len(server._serving._context.streams) == 0)
            await _open_stream(server, reader, writer, "/v1/events")

    assert (refused.status, refused.problem()) == (429, "too-many-requests")


@on_every_loop
async def test_a_watch_that_fails_at_once_is_an_ordinary_problem() -> None:
    """As long as nothing was sent, the status tells."""
    async with open_api(FakePeer(failure=OperationError("not-ready", "not joined yet"))) as server:
        answer = await call(server, "GET", "/v1/kv-watch")

    assert (answer.status, answer.problem()) == (503, "not-ready")


@on_every_loop
async def test_a_watch_that_fails_later_says_so_as_an_event() -> None:
    """Then the problem document is the last event."""

    class Failing(FakePeer):
        async def watch(self, prefix: str, *, exact: bool, since: str | None) -> AsyncGenerator[WatchedChange, None]:
            await self.changed.wait()
            raise OperationError("conflict", "the cursor is too old")
            yield

    peer = Failing()
    async with asyncio.timeout(15), open_api(peer) as server, connected(server) as (reader, writer):
        await _open_stream(server, reader, writer, "/v1/kv-watch")
        peer.changed.set()
        event = await _event(reader)
        rest = await read_to_end(reader)

    assert event["event"] == "problem"
    assert '"type":"conflict"' in event["data"]
    assert rest == b""


@on_every_loop
async def test_a_defect_in_a_watch_ends_the_connection() -> None:
    """What cannot be explained is in the log, and the client comes back by itself."""

    class Broken(FakePeer):
        async def watch(self, prefix: str, *, exact: bool, since: str | None) -> AsyncGenerator[WatchedChange, None]:
            await self.changed.wait()
            raise RuntimeError("a defect")
            yield

    peer = Broken()
    async with asyncio.timeout(15), open_api(peer) as server, connected(server) as (reader, writer):
        await _open_stream(server, reader, writer, "/v1/kv-watch")
        peer.changed.set()

        assert await read_to_end(reader) == b""


@on_every_loop
async def test_the_source_ends_with_its_client() -> None:
    """Nothing listens on behalf of a client that left."""
    peer = FakePeer()
    async with asyncio.timeout(15), open_api(peer) as server:
        async with connected(server) as (reader, writer):
            await _open_stream(server, reader, writer, "/v1/events")
            await until(lambda: len(peer.bus) == 1)
        await until(lambda: len(peer.bus) == 0)


@on_every_loop
async def test_a_client_that_does_not_read_is_cut_off() -> None:
    """Its buffers are freed after the deadline, and its source ends: what it left unread never comes."""
    peer = FakePeer()
    limits = ApiLimits(response_timeout_s=0.1)
    async with asyncio.timeout(15), open_api(peer, limits=limits) as server, connected(server) as (reader, writer):
        await _open_stream(server, reader, writer, "/v1/events")
        transport = cast(asyncio.Transport, writer.transport)
        transport.pause_reading()
        await until(lambda: len(peer.bus) == 1)
        for _ in range(EVENTS_WAITING_MAX):
            peer.bus.publish("record", {"value": "x" * 50_000})
        await until(lambda: len(peer.bus) == 0)
        await until(lambda: server._serving is not None and len(server._serving._context.streams) == 0)
        transport.resume_reading()
        received = await read_to_end(reader)

    assert len(received) < EVENTS_WAITING_MAX * 50_000


@pytest.mark.parametrize("waiting", ["streams", "slow reader", "write", "read", "body", "idle"])
@on_every_loop
async def test_the_server_stops_within_a_second(waiting: str) -> None:
    """Open streams, clients that do not read and requests at work hold nobody up: all but the grace is work."""
    peer = FakePeer(gate=asyncio.Event())
    patient = dict.fromkeys(
        ("header_timeout_s", "body_grace_s", "lingering_s", "response_timeout_s", "heartbeat_s"), 60.0
    )
    limits = ApiLimits(**patient)  # type: ignore[arg-type]  # the counts among them keep their defaults
    async with asyncio.timeout(30), open_api(peer, limits=limits) as server, connected(server) as (reader, writer):
        if waiting == "streams":
            await _open_stream(server, reader, writer, "/v1/events")
        elif waiting == "slow reader":
            await _open_stream(server, reader, writer, "/v1/events")
            cast(asyncio.Transport, writer.transport).pause_reading()
            await until(lambda: len(peer.bus) == 1)
            for _ in range(EVENTS_WAITING_MAX):
                peer.bus.publish("record", {"value": "x" * 50_000})
        elif waiting == "body":
            writer.write(request_head(server, "PUT", "/v1/kv/k", extra="Content-Length: 9\r\n"))
        elif waiting == "idle":
            writer.write(request_head(server, "GET", "/v1/status"))
            await reader.readuntil(b"\r\n\r\n")
        else:
            method = "PUT" if waiting == "write" else "GET"
            writer.write(request_head(server, method, "/v1/kv/k"))
            await until(lambda: peer.calls)
        begun = time.monotonic()
        await server.stop()
        took_s = time.monotonic() - begun
        cast(asyncio.Transport, writer.transport).resume_reading()
        await read_to_end(reader)

    assert limits.stop_grace_s < 1.0
    assert took_s < 10.0, "it waited for what has a minute"  # a busy machine may need more than the second
    assert peer.cancelled == (waiting in ("write", "read"))
    assert len(peer.bus) == 0


@on_every_loop
async def test_a_write_at_work_is_finished_before_the_stop() -> None:
    """A stop leaves a moment for what is nearly done, and its client gets the answer."""
    peer = FakePeer(gate=asyncio.Event())
    async with asyncio.timeout(15), open_api(peer) as server, connected(server) as (reader, writer):
        writer.write(request_head(server, "PUT", "/v1/kv/k", extra="Content-Length: 1\r\n") + b"v")
        await until(lambda: peer.calls)
        stopping = asyncio.create_task(server.stop())
        assert peer.gate is not None
        asyncio.get_running_loop().call_later(0.05, peer.gate.set)
        answer = parse_answer(await read_to_end(reader))
        await stopping

    assert answer.status == 200
    assert peer.records["k"].value == b"v"


@on_every_loop
async def test_a_stopped_server_leaves_its_port() -> None:
    """A restart finds the port free; stopping twice is no error."""
    async with open_api() as server:
        port = server.port
        await server.stop()
        await server.stop()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


@pytest.mark.parametrize(
    ("value", "text", "encoding"),
    [(b"", "", "utf-8"), ("é".encode(), "é", "utf-8"), (b"\x00", "\x00", "utf-8"), (b"\xff", "/w==", "base64")],
)
def test_values_become_text_where_they_are(value: bytes, text: str, encoding: str) -> None:
    """JSON holds text only; what is none goes as base64."""
    assert text_of_value(value) == (text, encoding)
