"""The peers' TCP port under attack, by members and by whoever sits at a member's address."""

import asyncio
import contextlib
import gzip
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from node import peer_http
from node.peer_client import PeerClient
from node.peer_limits import PeerPortLimits
from node.ports import PeerUnreachable
from node.tls import host_name_of
from protocol import codec
from protocol.errors import RemoteProtocolError
from protocol.limits import LARGE_MESSAGE_SIZE_MAX_BYTES
from protocol.messages import Accepted, Refusal
from tests.loops import on_every_loop
from tests.node.tcp_peers import (
    ALICE,
    BOB,
    CAROL,
    REQUEST,
    descriptor_of,
    open_client,
    open_port,
    open_stream,
    read_to_end,
    tls_of,
)
from tests.waiting import until

_SHORT_FOR_STRANGERS = PeerPortLimits(stranger_timeout_s=0.3)

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def hostile_peer(folder: Path, behave: Behaviour) -> AsyncIterator[int]:
    """Yield the port of a proved member that reads a request's head and then does as it likes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, ssl.SSLError):
            await reader.readuntil(b"\r\n\r\n")
            await behave(writer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls_of(ALICE, folder).server)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def ask(client: PeerClient, port: int, *, timeout_s: float = 10.0) -> object:
    return await client.request(descriptor_of(ALICE, port), REQUEST, timeout_s)


# Who answers


@on_every_loop
async def test_kept_connection_is_never_used_for_another_peer_at_its_address(tmp_path: Path) -> None:
    """The pool tells peers apart, not only addresses: a peer that moved there is proved anew."""
    async with open_port(ALICE, tmp_path) as port, open_client(BOB, tmp_path) as client:
        assert isinstance(await ask(client, port.port), Refusal)
        with pytest.raises(PeerUnreachable):
            await client.request(descriptor_of(CAROL, port.port), REQUEST, 10)
        assert isinstance(await ask(client, port.port), Refusal)


@on_every_loop
async def test_redirect_is_not_followed(tmp_path: Path) -> None:
    """Wherever a member points, nothing else is asked."""
    asked: list[bytes] = []

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(100))
        writer.close()

    target = await asyncio.start_server(elsewhere, "127.0.0.1", 0)

    async def redirect(writer: asyncio.StreamWriter) -> None:
        place = f"http://127.0.0.1:{target.sockets[0].getsockname()[1]}/"
        writer.write(f"HTTP/1.1 307 Go\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    async with target, hostile_peer(tmp_path, redirect) as port, open_client(BOB, tmp_path) as client:
        with pytest.raises(RemoteProtocolError, match="307"):
            await ask(client, port)

    assert asked == []


# Answers without measure


async def _endless_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        await writer.drain()


async def _endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        writer.write(b"X-%d: %s\r\n" % (number, b"a" * 100))
        await writer.drain()


async def _endless_line(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"a" * 10_000)
        await writer.drain()


async def _bomb(writer: asyncio.StreamWriter) -> None:
    packed = gzip.compress(codec.encode_large(Accepted()) + bytes(20 * 2**20))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {len(packed)}\r\n\r\n"
    writer.write(head.encode() + packed)
    await writer.drain()


async def _announced(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n")
    while True:
        writer.write(bytes(0x10000))
        await writer.drain()


async def _endless_interim(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100)
        await writer.drain()


@pytest.mark.parametrize("behave", [_endless_body, _endless_head, _endless_line, _bomb, _announced])
@on_every_loop
async def test_answer_without_measure_is_given_up_early(tmp_path: Path, behave: Behaviour) -> None:
    """Long before its deadline: what is kept of it is bounded, and nothing is unpacked."""
    began = asyncio.get_running_loop().time()
    async with hostile_peer(tmp_path, behave) as port, open_client(BOB, tmp_path) as client:
        with pytest.raises((RemoteProtocolError, PeerUnreachable)) as refused:
            await ask(client, port, timeout_s=60)

    assert "within" not in str(refused.value)
    assert asyncio.get_running_loop().time() - began < 30


async def _dripping_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.01)


async def _dripping_head(writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("behave", [_dripping_body, _dripping_head, _endless_interim])
@on_every_loop
async def test_answer_that_drips_ends_with_the_deadline(tmp_path: Path, behave: Behaviour) -> None:
    """A byte now and then is no answer."""
    async with hostile_peer(tmp_path, behave) as port, open_client(BOB, tmp_path) as client:
        with pytest.raises((RemoteProtocolError, PeerUnreachable)):
            await ask(client, port, timeout_s=0.4)


# Requests without measure


@on_every_loop
async def test_packed_request_is_refused_unread(tmp_path: Path) -> None:
    """A bomb does not go off where nothing is unpacked."""
    packed = gzip.compress(bytes(20 * 2**20))
    head = "POST /peer/v1/request HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\n"
    async with open_port(ALICE, tmp_path) as port, as_member(port.port, tmp_path) as (reader, writer):
        writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(packed) + packed)
        answer = await read_to_end(reader)

    assert answer.split()[1] == b"415"


@on_every_loop
async def test_endless_request_is_cut_off(tmp_path: Path) -> None:
    """Its size is counted, whether or not it says one."""
    async with open_port(ALICE, tmp_path) as port, as_member(port.port, tmp_path) as (_, writer):
        writer.write(b"POST /peer/v1/request HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while sent < 20 * LARGE_MESSAGE_SIZE_MAX_BYTES:
                writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                await writer.drain()
                sent += 0x10000
        await until(lambda: not port._requests)

    assert sent < 20 * LARGE_MESSAGE_SIZE_MAX_BYTES


@on_every_loop
async def test_request_whose_head_drips_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of an idle connection runs until a whole head has arrived, however busily its bytes trickle in."""
    monkeypatch.setattr(peer_http, "KEEPALIVE_S", 0.3)
    async with open_port(ALICE, tmp_path) as port, as_member(port.port, tmp_path) as (reader, writer):
        await until(lambda: port._requests)
        ended = asyncio.create_task(read_to_end(reader))
        writer.write(b"POST /peer/v1/request HTTP/1.1\r\n")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            for number in itertools.count():
                writer.write(b"X-%d: y\r\n" % number)
                await writer.drain()
                await asyncio.sleep(0.02)
                if ended.done():
                    break
        assert b"200" not in await ended
        await until(lambda: not port._requests)


@on_every_loop
async def test_one_member_has_so_many_connections_and_others_go_on(tmp_path: Path) -> None:
    """Twice what an honest client opens; further ones are closed."""
    limits = PeerPortLimits(request_connections_per_peer=3)
    async with (
        open_port(ALICE, tmp_path, limits=limits) as port,
        open_client(CAROL, tmp_path) as client,
        contextlib.AsyncExitStack() as streams,
    ):
        readers = [(await streams.enter_async_context(as_member(port.port, tmp_path)))[0] for _ in range(6)]
        await until(lambda: len(port._requests) == 3 and not port._strangers)
        ended = [await read_to_end(reader) for reader in readers[3:]]
        reply = await ask(client, port.port)

    assert ended == [b""] * 3
    assert isinstance(reply, Refusal)


# Handshakes


@on_every_loop
async def test_handshake_that_drips_is_cut_off(tmp_path: Path) -> None:
    """The time runs from the first byte to the proof, not from byte to byte."""
    outgoing = ssl.MemoryBIO()
    end = tls_of(BOB, tmp_path).client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host_name_of(ALICE.peer_id))
    with contextlib.suppress(ssl.SSLWantReadError):
        end.do_handshake()
    hello = outgoing.read()
    async with open_port(ALICE, tmp_path, limits=_SHORT_FOR_STRANGERS) as port:
        began = asyncio.get_running_loop().time()
        async with open_stream(port.port) as (reader, writer):
            ended = asyncio.create_task(read_to_end(reader))
            with contextlib.suppress(ConnectionError):
                for byte in hello:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.01)
                    if ended.done():
                        break
            assert await ended == b""
        await until(lambda: not port._strangers)

    assert asyncio.get_running_loop().time() - began < 0.01 * len(hello)


@on_every_loop
async def test_handshake_that_never_ends_is_cut_off(tmp_path: Path) -> None:
    """The newcomer said hello, and then nothing any more: no certificate, no proof, no place for long."""
    outgoing = ssl.MemoryBIO()
    end = tls_of(BOB, tmp_path).client.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=host_name_of(ALICE.peer_id))
    with contextlib.suppress(ssl.SSLWantReadError):
        end.do_handshake()
    async with open_port(ALICE, tmp_path, limits=_SHORT_FOR_STRANGERS) as port:
        async with open_stream(port.port) as (reader, writer):
            writer.write(outgoing.read())
            answer = await read_to_end(reader)
        await until(lambda: not port._strangers)
        assert not port._requests

    assert b"HTTP" not in answer


def as_member(
    port: int, folder: Path
) -> contextlib.AbstractAsyncContextManager[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    return open_stream(port, ssl=tls_of(BOB, folder).client, server_hostname=host_name_of(ALICE.peer_id))
