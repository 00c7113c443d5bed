"""The peers' TCP port on real sockets and both loops: members are served, everybody else gets nothing."""

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from node import peer_http, peer_port
from node.link_hello import LINK_MAGIC, frame_hello
from node.peer_limits import PeerPortLimits
from node.peer_port import PeerPort
from node.ports import PeerUnreachable
from node.tls import host_name_of
from protocol import codec
from protocol.errors import ConfigError, RemoteProtocolError
from protocol.identity import Identity
from protocol.ids import PeerId
from protocol.limits import LARGE_MESSAGE_SIZE_MAX_BYTES
from protocol.messages import Accepted, Refusal, Reply, Request
from protocol.statements import Address
from tests.loops import on_every_loop
from tests.node.tcp_peers import (
    ALICE,
    BOB,
    CAROL,
    NETWORK,
    OTHER_NETWORK,
    REQUEST,
    PeerTlsAuthority,
    descriptor_of,
    forged_context,
    hello_of,
    open_client,
    open_port,
    open_stream,
    read_to_end,
    tls_of,
)
from tests.waiting import until

_MALLORY = Identity(b"M" * 32)
_SHORT_FOR_STRANGERS = PeerPortLimits(stranger_timeout_s=0.15)
_SHORT_FOR_MEMBERS = PeerPortLimits(transfer_grace_s=0.2, handler_timeout_s=0.2)


# Requests


@on_every_loop
async def test_a_members_request_is_served_under_its_proved_id(tmp_path: Path) -> None:
    """The handler learns who asks from the certificate."""
    async with open_port(ALICE, tmp_path) as port, open_client(BOB, tmp_path) as client:
        replies = [await client.request(descriptor_of(ALICE, port.port), REQUEST, 10) for _ in range(3)]

    assert replies == [Refusal(request_id=7, reason=BOB.peer_id.hex())] * 3
    assert port._server is None


@on_every_loop
async def test_many_requests_at_once_share_a_few_connections(tmp_path: Path) -> None:
    """At most eight connections to one peer; the rest wait."""
    at_work: list[int] = []
    most = 0

    async def handle(caller: PeerId, request: Request) -> Reply:
        nonlocal most
        at_work.append(1)
        most = max(most, len(at_work))
        await asyncio.sleep(0)
        at_work.pop()
        return Accepted()

    async with open_port(ALICE, tmp_path, handle=handle) as port, open_client(BOB, tmp_path) as client:
        peer = descriptor_of(ALICE, port.port)
        replies = await asyncio.gather(*(client.request(peer, REQUEST, 15) for _ in range(60)))
        connections = len(port._requests)

    assert replies == [Accepted()] * 60
    assert connections <= 8
    assert most <= 8


@on_every_loop
async def test_another_peer_at_the_address_is_not_the_one_asked(tmp_path: Path) -> None:
    """Not a byte of the request leaves for somebody else."""
    served: list[PeerId] = []

    async def handle(caller: PeerId, request: Request) -> Reply:
        served.append(caller)
        return Accepted()

    async with open_port(ALICE, tmp_path, handle=handle) as port, open_client(BOB, tmp_path) as client:
        with pytest.raises(PeerUnreachable):
            await client.request(descriptor_of(CAROL, port.port), REQUEST, 10)

    assert served == []


@on_every_loop
async def test_a_member_that_forges_a_name_is_found_out(tmp_path: Path) -> None:
    """Any member can sign a leaf with any name: the client compares the key (threats, section 6.3)."""
    context = forged_context(
        host_name_of(ALICE.peer_id),
        Ed25519PrivateKey.from_private_bytes(_MALLORY.seed),
        tmp_path,
        protocol=ssl.PROTOCOL_TLS_SERVER,
    )
    received: list[bytes] = []

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            received.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(pretend, "127.0.0.1", 0, ssl=context)
    async with open_client(BOB, tmp_path) as client:
        address = descriptor_of(ALICE, server.sockets[0].getsockname()[1])
        with pytest.raises(PeerUnreachable, match="another peer"):
            await client.request(address, REQUEST, 10)
        await until(lambda: received)
    server.close()
    await server.wait_closed()

    assert received == [b""]


@on_every_loop
async def test_a_forged_name_of_a_caller_changes_nothing(tmp_path: Path) -> None:
    """The server takes the caller's id from its key as well."""
    context = forged_context(
        host_name_of(BOB.peer_id),
        Ed25519PrivateKey.from_private_bytes(_MALLORY.seed),
        tmp_path,
        protocol=ssl.PROTOCOL_TLS_CLIENT,
    )
    body = codec.encode_large(REQUEST)
    async with (
        open_port(ALICE, tmp_path) as port,
        open_stream(port.port, ssl=context, server_hostname=host_name_of(ALICE.peer_id)) as (reader, writer),
    ):
        writer.write(_post(body))
        answer = await read_to_end(reader)

    assert _MALLORY.peer_id.hex().encode() in answer


@on_every_loop
async def test_another_network_is_dropped(tmp_path: Path) -> None:
    """Two networks never mix, whoever calls whom."""
    async with (
        open_port(ALICE, tmp_path) as ours,
        open_port(ALICE, tmp_path, network=OTHER_NETWORK) as theirs,
        open_client(BOB, tmp_path) as client,
        open_client(BOB, tmp_path, network=OTHER_NETWORK) as stranger,
    ):
        for caller, port in ((stranger, ours), (client, theirs)):
            with pytest.raises(PeerUnreachable):
                await caller.request(descriptor_of(ALICE, port.port), REQUEST, 10)


@on_every_loop
async def test_a_caller_without_a_certificate_is_dropped(tmp_path: Path) -> None:
    """It may end the handshake on its side; nothing it asks is answered."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=PeerTlsAuthority(NETWORK).der)
    name = host_name_of(ALICE.peer_id)
    async with open_port(ALICE, tmp_path) as port:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            async with open_stream(port.port, ssl=context, server_hostname=name) as (reader, writer):
                writer.write(_post(codec.encode_large(REQUEST)))
                assert await read_to_end(reader) == b""
        await until(lambda: not port._strangers)
        assert not port._requests


@on_every_loop
async def test_nobody_there_is_said_at_once(tmp_path: Path) -> None:
    """Refused is not silence; and an address that cannot be one is no defect of ours."""
    async with open_port(ALICE, tmp_path) as port:
        free_port = port.port
    async with open_client(BOB, tmp_path) as client:
        for host in ("127.0.0.1", "a..b", "x" * 255):
            peer = msgspec.structs.replace(descriptor_of(ALICE, free_port), address=Address(host, free_port))
            with pytest.raises(PeerUnreachable):
                await client.request(peer, REQUEST, 10)


@on_every_loop
async def test_a_peer_that_does_not_answer_is_given_up_in_time(tmp_path: Path) -> None:
    """Every request has a deadline, for a silent handler as for a silent listener."""

    async def never(caller: PeerId, request: Request) -> Reply:
        await asyncio.Event().wait()
        return Accepted()

    async with open_port(ALICE, tmp_path, handle=never) as port, open_client(BOB, tmp_path) as client:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            for number in (port.port, silent.getsockname()[1]):
                with pytest.raises(PeerUnreachable, match="within"):
                    await client.request(descriptor_of(ALICE, number), REQUEST, 0.2)


@on_every_loop
async def test_a_restarted_peer_is_asked_again_on_a_new_connection(tmp_path: Path) -> None:
    """A kept connection may have ended with the last boot: one more try is free."""
    async with open_client(BOB, tmp_path) as client:
        async with open_port(ALICE, tmp_path) as port:
            await client.request(descriptor_of(ALICE, port.port), REQUEST, 10)
        async with open_port(ALICE, tmp_path, port=port.port):
            reply = await client.request(descriptor_of(ALICE, port.port), REQUEST, 10)

    assert isinstance(reply, Refusal)


@on_every_loop
async def test_a_defect_of_a_handler_is_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged there, and the caller asks somebody else."""

    async def broken(caller: PeerId, request: Request) -> Reply:
        raise RuntimeError("a defect")

    async with open_port(ALICE, tmp_path, handle=broken) as port, open_client(BOB, tmp_path) as client:
        with pytest.raises(PeerUnreachable):
            await client.request(descriptor_of(ALICE, port.port), REQUEST, 10)

    assert "a defect" in caplog.text


@on_every_loop
async def test_a_request_survives_the_stop_of_its_port(tmp_path: Path) -> None:
    """What is being answered is answered; the stop takes no longer than that."""
    begun, gate = asyncio.Event(), asyncio.Event()

    async def handle(caller: PeerId, request: Request) -> Reply:
        begun.set()
        await gate.wait()
        return Accepted()

    async with open_port(ALICE, tmp_path, handle=handle) as port, open_client(BOB, tmp_path) as client:
        asking = asyncio.create_task(client.request(descriptor_of(ALICE, port.port), REQUEST, 10))
        await begun.wait()
        stopping = asyncio.create_task(port.stop())
        await asyncio.sleep(0)
        gate.set()

        assert await asking == Accepted()
        await stopping


@pytest.mark.parametrize(
    ("head", "body", "status"),
    [
        ("POST /peer/v1/request", b"not a message", 400),
        ("POST /peer/v1/request", codec.encode_large(Accepted()), 400),
        ("POST /peer/v1/request", b"x" * (LARGE_MESSAGE_SIZE_MAX_BYTES + 1), 413),
        ("GET /peer/v1/request", b"", 405),
        ("GET /v1/status", b"", 404),
    ],
    ids=["nonsense", "reply", "large", "method", "path"],
)
@on_every_loop
async def test_a_member_that_misbehaves_is_answered_briefly(
    tmp_path: Path, head: str, body: bytes, status: int
) -> None:
    """A hostile member costs no more than its request."""
    async with open_port(ALICE, tmp_path) as port, _as_member(port, tmp_path) as (reader, writer):
        writer.write(_post(body, head=head))
        answer = await read_to_end(reader)

    assert answer.split()[1:2] == [str(status).encode()] or (status == 413 and answer == b"")
    assert b"aiohttp" not in answer.lower()


@on_every_loop
async def test_slow_members_are_cut_off(tmp_path: Path) -> None:
    """A body that stops, an answer that is not read, a handler that hangs: each has a deadline."""

    async def handle(caller: PeerId, request: Request) -> Reply:
        await asyncio.Event().wait()
        return Accepted()

    async with open_port(ALICE, tmp_path, limits=_SHORT_FOR_MEMBERS, handle=handle) as port:
        async with _as_member(port, tmp_path) as (reader, writer):
            writer.write(_post(b"x" * 100)[:-50])
            stalled = await read_to_end(reader)
        async with _as_member(port, tmp_path) as (reader, writer):
            writer.write(_post(codec.encode_large(REQUEST)))
            hung = await read_to_end(reader)

    assert stalled.split()[1] == b"408"
    assert hung.split()[1] == b"503"


@pytest.mark.parametrize("at", ["body", "answer"])
@on_every_loop
async def test_a_caller_that_dies_is_no_fault_here(tmp_path: Path, at: str, caplog: pytest.LogCaptureFixture) -> None:
    """In the middle of its request or before the answer: nothing is logged, and the others are served."""
    begun, gone = asyncio.Event(), asyncio.Event()

    async def handle(caller: PeerId, request: Request) -> Reply:
        if caller == BOB.peer_id:
            begun.set()
            await gone.wait()
        return Accepted()

    async with open_port(ALICE, tmp_path, handle=handle) as port, open_client(CAROL, tmp_path) as client:
        async with _as_member(port, tmp_path) as (reader, writer):
            request = _post(codec.encode_large(REQUEST)).replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")
            writer.write(request if at == "answer" else request[:-1])
            await reader.readuntil(b"100 Continue\r\n\r\n")
            if at == "answer":
                await begun.wait()
        await until(lambda: not port._requests)
        gone.set()

        assert await client.request(descriptor_of(ALICE, port.port), REQUEST, 10) == Accepted()

    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


@on_every_loop
async def test_an_answer_that_is_no_reply_is_the_others_fault(tmp_path: Path) -> None:
    """Members may send anything; the caller gets one kind of error for it."""
    bodies = [b"not a message", codec.encode_large(REQUEST), b"x" * (LARGE_MESSAGE_SIZE_MAX_BYTES + 1)]

    async def pretend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            body = bodies.pop(0)
            writer.write(f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(pretend, "127.0.0.1", 0, ssl=tls_of(ALICE, tmp_path).server)
    address = descriptor_of(ALICE, server.sockets[0].getsockname()[1])
    async with open_client(BOB, tmp_path) as client:
        for _ in range(3):
            with pytest.raises(RemoteProtocolError):
                await client.request(address, REQUEST, 10)
    server.close()


# Strangers and links


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00",
        b"\x16\x03\x01",
        b"\x16" * 300,
        bytes([LINK_MAGIC]),
        bytes([LINK_MAGIC, 0, 0]),
        bytes([LINK_MAGIC, 255, 255]),
        frame_hello(b"no id"),
        frame_hello(bytes(32)) + b"x",
        frame_hello(bytes(32))[:-1],
    ],
)
@on_every_loop
async def test_a_stranger_gets_nothing(tmp_path: Path, data: bytes) -> None:
    """Not one byte that says what listens here, and an end in short time."""
    async with open_port(ALICE, tmp_path, limits=_SHORT_FOR_STRANGERS, check_hello=_known_hello) as port:
        async with open_stream(port.port) as (reader, writer):
            writer.write(data)
            received = await read_to_end(reader)
        await until(lambda: not port._strangers)

    assert received[:1] in (b"", b"\x15")  # an alert says that this was no TLS


@on_every_loop
async def test_random_bytes_change_nothing(tmp_path: Path) -> None:
    """Garbage at the port, while a member is served."""
    async with (
        open_port(ALICE, tmp_path, limits=_SHORT_FOR_STRANGERS, check_hello=_known_hello) as port,
        open_client(BOB, tmp_path) as client,
    ):
        for first in (0x16, LINK_MAGIC, 0x00) * 10:
            async with open_stream(port.port) as (_, writer):
                writer.write(bytes([first]) + os.urandom(200))
                reply = await client.request(descriptor_of(ALICE, port.port), REQUEST, 10)
                assert isinstance(reply, Refusal)
        await until(lambda: not port._strangers)
        assert len(port._requests) == 1


@on_every_loop
async def test_a_link_stays_silent_and_open_until_its_peer_ends(tmp_path: Path) -> None:
    """A link carries nothing; it is counted under the peer that its hello proves."""
    async with open_port(ALICE, tmp_path, limits=_SHORT_FOR_STRANGERS) as port:
        async with open_stream(port.port) as (reader, writer):
            hello = frame_hello(hello_of(BOB))
            writer.write(hello[:2])
            await writer.drain()
            writer.write(hello[2:])
            await until(lambda: list(port._links.values()) == [BOB.peer_id])
            reading = asyncio.create_task(reader.read(1))
            await asyncio.wait([reading], timeout=2 * _SHORT_FOR_STRANGERS.stranger_timeout_s)
            assert not reading.done()
            reading.cancel()
        await until(lambda: not port._links)


@on_every_loop
async def test_a_link_that_talks_is_closed(tmp_path: Path) -> None:
    """Whoever talks there is no peer."""
    async with open_port(ALICE, tmp_path) as port, open_stream(port.port) as (reader, writer):
        writer.write(frame_hello(hello_of(BOB)))
        await until(lambda: port._links)
        writer.write(b"x")

        assert await read_to_end(reader) == b""


@on_every_loop
async def test_links_and_connections_of_one_peer_are_bounded(tmp_path: Path) -> None:
    """One member cannot take the places of all others."""
    limits = PeerPortLimits(links_per_peer=2)
    async with open_port(ALICE, tmp_path, limits=limits) as port, contextlib.AsyncExitStack() as streams:
        for who in (BOB, BOB, CAROL):
            _, writer = await streams.enter_async_context(open_stream(port.port))
            writer.write(frame_hello(hello_of(who)))
        await until(lambda: len(port._links) == 3)
        reader, writer = await streams.enter_async_context(open_stream(port.port))
        writer.write(frame_hello(hello_of(BOB)))

        assert await read_to_end(reader) == b""
        assert len(port._links) == 3


@on_every_loop
async def test_the_oldest_stranger_goes_when_they_are_too_many(tmp_path: Path) -> None:
    """A member proves itself within milliseconds: what has been silent for longest is least likely to be one."""
    limits = PeerPortLimits(strangers=3, strangers_per_host=3)
    async with (
        open_port(ALICE, tmp_path, limits=limits) as port,
        open_client(BOB, tmp_path) as client,
        contextlib.AsyncExitStack() as streams,
    ):
        readers = [(await streams.enter_async_context(open_stream(port.port)))[0] for _ in range(5)]
        await until(lambda: len(port._strangers) == 3)
        assert await read_to_end(readers[0]) == b""
        assert await read_to_end(readers[1]) == b""
        reply = await client.request(descriptor_of(ALICE, port.port), REQUEST, 10)

    assert isinstance(reply, Refusal)


@on_every_loop
async def test_a_stop_closes_everybody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Strangers, links and idle connections end at once; the port is free; stopping twice is no error."""
    for module in (peer_port, peer_http):
        monkeypatch.setattr(module, "_STOP_TIMEOUT_S", 60.0)
    async with open_port(ALICE, tmp_path) as port, open_client(BOB, tmp_path) as client:
        await client.request(descriptor_of(ALICE, port.port), REQUEST, 10)
        async with open_stream(port.port) as (stranger, _), open_stream(port.port) as (link, writer):
            writer.write(frame_hello(hello_of(CAROL)))
            await until(lambda: port._links and port._strangers and port._requests)
            begun = asyncio.get_running_loop().time()
            await port.stop()
            took_s = asyncio.get_running_loop().time() - begun
            assert [await read_to_end(reader) for reader in (stranger, link)] == [b"", b""]
        await port.stop()
        async with open_port(BOB, tmp_path, port=port.port):
            pass

    assert took_s < 10.0, "it waited for somebody"
    assert not (port._strangers or port._links or port._requests)


@on_every_loop
async def test_a_port_that_cannot_be_had_is_explained(tmp_path: Path) -> None:
    """The error names the cause and the next step."""
    async with open_port(ALICE, tmp_path) as taken:
        for bind, number in (("127.0.0.1", taken.port), ("192.0.2.1", 0), ("a..b", 0)):
            port = PeerPort(
                tls=tls_of(BOB, tmp_path),
                bind=bind,
                port=number,
                handle=lambda caller, request: asyncio.sleep(0, Accepted()),
                check_hello=_known_hello,
                count_members=lambda: 1,
            )
            with pytest.raises(ConfigError) as refused:
                await port.start()
            assert "--" in refused.value.next_step
            await port.stop()


def _known_hello(sealed: bytes) -> PeerId | None:
    return BOB.peer_id if sealed == hello_of(BOB) else None


def _as_member(
    port: PeerPort, folder: Path
) -> contextlib.AbstractAsyncContextManager[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    return open_stream(port.port, ssl=tls_of(BOB, folder).client, server_hostname=host_name_of(ALICE.peer_id))


def _post(body: bytes, *, head: str = "POST /peer/v1/request") -> bytes:
    return f"{head} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
