"""The bare HTTP client against the answers of a server that was written for it, byte by byte."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.wire import Client, stream_events
from tests.loops import on_every_loop


@asynccontextmanager
async def answering(*pieces: bytes, ends: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers every request with these pieces; yields its address and the requests that came."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                requests.append(await reader.readuntil(b"\r\n\r\n"))
                for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0)
                if ends:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", requests


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: x\r\n\r\nhello"],
        [b"HTTP/1.1 200 OK\r\nContent-Le", b"ngth: 5\r\nETag: x\r\n\r", b"\nhel", b"lo"],
        [b"HTTP/1.1 200 OK\r\nETag: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nl", b"lo\r\n0\r\n\r\n"],
    ],
)
@on_every_loop
async def test_an_answer_is_read_however_it_arrives(pieces: list[bytes]) -> None:
    """In one piece, in many, in chunks; then the connection serves the next request."""
    async with answering(*pieces) as (url, requests):
        client = Client(url, token="t")
        for _ in range(2):
            response = await client.request("GET", "/v1/x", headers={"Pair-Explain": "1"})
            assert (response.status, response.body, response.headers["etag"]) == (200, b"hello", "x")
        client.close()

    assert len(requests) == 2
    assert requests[0].startswith(b"GET /v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"Authorization: Bearer t\r\n" in requests[0]
    assert b"Pair-Explain: 1\r\n" in requests[0]


@on_every_loop
async def test_a_connection_that_ends_early_is_an_error_and_the_next_request_opens_another() -> None:
    """A peer that was killed must not be taken for one that found nothing."""
    async with answering(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", ends=True) as (url, requests):
        client = Client(url)
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await client.request("GET", "/")
        client.close()

    assert len(requests) == 2


@on_every_loop
async def test_a_server_that_says_nothing_is_left_after_the_time_out() -> None:
    """Every wait has an end."""
    async with answering() as (url, _):
        client = Client(url)
        with pytest.raises(TimeoutError):
            await client.request("GET", "/", timeout_s=0.05)
        client.close()


@on_every_loop
async def test_events_are_read_from_a_chunked_stream() -> None:
    """Comments and the sizes of chunks are passed over."""
    event = b'event: member\ndata: {"state": "failed"}\n\n'
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in (b": alive\n\n", event, event))

    async with answering(head, chunks, ends=True) as (url, _):
        events = [event async for event in stream_events(url, "/v1/events", token="t")]

    assert [(event.kind, event.document) for event in events] == [("member", {"state": "failed"})] * 2


@on_every_loop
async def test_a_refused_stream_is_an_error() -> None:
    """No events because the peer said no is not the same as no events."""
    async with answering(b"HTTP/1.1 401 Unauthorized\r\n\r\n", ends=True) as (url, _):
        with pytest.raises(ConnectionError, match="401"):
            await anext(stream_events(url, "/v1/events", token="t"))
