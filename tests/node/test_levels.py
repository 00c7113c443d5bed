"""Who may do what: every route of both listeners with every credential, as ``docs/api.md`` shows it.

The table of the page is the expected outcome; a route that is added, or opened by mistake, fails here.
"""

import asyncio
import contextlib
import random
import re
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Final

import pytest

from node.api import ApiServer
from node.api.routes import ROUTES
from node.api.routing import Route
from node.api.tokens import LEVELS
from node.faults.plane import FaultPlane
from node.link_hello import frame_hello
from node.tls import host_name_of
from protocol import codec
from protocol.doorway import ANSWER_SIZE_MAX_BYTES, Greeting, Welcome, frame, frame_in, knock
from protocol.identity import Identity
from protocol.ids import PeerId
from protocol.invites import decode_invite
from tests.node.api.fake_peer import TOKENS, FakePeer, call, open_api
from tests.node.tcp_peers import (
    ALICE,
    BOB,
    CAROL,
    OTHER_NETWORK,
    REQUEST,
    hello_of,
    open_stream,
    read_to_end,
    tls_of,
)
from tests.node.test_invites import Issuer, issuer
from tests.waiting import until

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "api.md"
_BLOCK: Final = re.compile(r"<!-- levels -->\n(?P<table>(?:\|.*\n)+)")
CREDENTIALS: Final = {"none": None, "wrong token": "pairt_other", **TOKENS}
COLUMNS: Final = (*CREDENTIALS, "member's certificate", "banned or foreign certificate")

Row = tuple[str, ...]
NO_ANSWER: Final = "–"


@contextlib.asynccontextmanager
async def guest_or_member(
    port: int, context: ssl.SSLContext
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    async with open_stream(port, ssl=context, server_hostname=host_name_of(ALICE.peer_id)) as streams:
        yield streams


def anybody() -> ssl.SSLContext:
    """A context without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def trusting(identity: Identity, folder: Path, **options: Any) -> ssl.SSLContext:
    """A peer's context, which accepts whatever the server shows: here it is the caller that is judged."""
    context = tls_of(identity, folder, **options).client
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def outcome(status: int) -> str:
    return str(status) if status in (401, 403) else "yes"


async def api_row(server: ApiServer, route: Route, folder: Path) -> Row:
    """What each credential gets at one route of the API."""
    method = "HEAD" if route.is_stream else route.method
    target = re.sub(r"{\w+}", "some-name", route.path)
    answers = [await call(server, method, target, token=token) for token in CREDENTIALS.values()]
    with_certificate = NO_ANSWER
    with contextlib.suppress(OSError):  # the API speaks plain HTTP: a certificate is no credential there
        async with guest_or_member(server.port, trusting(BOB, folder)):
            with_certificate = "yes"
    cells = [outcome(answer.status) for answer in answers]
    return (f"`{route.method} {route.path}`", *cells, with_certificate, with_certificate)


Attempt = Callable[[Issuer, ssl.SSLContext, str | None], Coroutine[Any, Any, str]]


async def ask(alice: Issuer, context: ssl.SSLContext, token: str | None) -> str:
    """Send a request as peers do, with a token if there is one."""
    body = codec.encode_large(REQUEST)
    bearer = f"Authorization: Bearer {token}\r\n" if token is not None else ""
    head = f"POST /peer/v1/request HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{bearer}"
    text = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    return await said(alice, context, text, lambda answer: b" 200 OK" in answer)


async def look(alice: Issuer, context: ssl.SSLContext, token: str | None) -> str:
    """Ask the peer port for a route of the API."""
    bearer = f"Authorization: Bearer {token}\r\n" if token is not None else ""
    head = f"GET /v1/status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{bearer}\r\n"
    return await said(alice, context, head.encode(), lambda answer: b" 200 OK" in answer)


async def said(alice: Issuer, context: ssl.SSLContext, text: bytes, is_served: Callable[[bytes], bool]) -> str:
    with contextlib.suppress(OSError):
        async with guest_or_member(alice.port.port, context) as (reader, writer):
            writer.write(text)
            return "yes" if is_served(await read_to_end(reader)) else NO_ANSWER
    return NO_ANSWER


async def come(alice: Issuer, context: ssl.SSLContext, token: str | None) -> str:
    """Come with an invite, whatever else is shown. A member is not greeted: it is the one to speak."""
    await until(lambda: not alice.port._requests)
    invite = decode_invite(alice.invites.create(role="member", uses=1, expires_s=60).invite)
    with contextlib.suppress(OSError, EOFError):
        async with guest_or_member(alice.port.port, context) as (reader, writer):
            size = asyncio.ensure_future(reader.readexactly(2))
            await until(lambda: size.done() or alice.port._requests)
            if not size.done():
                size.cancel()
                return NO_ANSWER
            data = await size
            data += await reader.readexactly(int.from_bytes(data, "big"))
            greeting = frame_in(data, size_max_bytes=ANSWER_SIZE_MAX_BYTES)
            assert isinstance(greeting, Greeting)
            writer.write(frame(knock(invite, greeting, Identity(b"n" * 32))))
            answer = frame_in(await read_to_end(reader), size_max_bytes=ANSWER_SIZE_MAX_BYTES)
            return "yes" if isinstance(answer, Welcome) else NO_ANSWER
    return NO_ANSWER


async def link(alice: Issuer, who: Identity | None) -> str:
    """Open a liveness link and see whether it stays."""
    async with open_stream(alice.port.port) as (reader, writer):
        writer.write(frame_hello(hello_of(who) if who is not None else b"nobody"))
        ended = asyncio.create_task(read_to_end(reader))
        await until(lambda: ended.done() or alice.port._links)
        ended.cancel()
        stays = bool(alice.port._links)
    await until(lambda: not alice.port._links)
    return "yes" if stays else NO_ANSWER


PEER_ROUTES: Final[dict[str, Attempt]] = {
    "peer port: `POST /peer/v1/request`": ask,
    "peer port: any route of the API": look,
    "peer port: the word of a newcomer, with an invite": come,
}


async def peer_rows(alice: Issuer, folder: Path) -> list[Row]:
    """What each credential gets on the peer port while an invite is open."""
    alice.invites.create(role="member", uses=1, expires_s=60)
    rows: list[Row] = []
    for name, attempt in PEER_ROUTES.items():
        cells = [await attempt(alice, anybody(), token) for token in CREDENTIALS.values()]
        cells.append(await attempt(alice, trusting(BOB, folder), None))
        foreign = await attempt(alice, trusting(BOB, folder, network=OTHER_NETWORK), None)
        banned = await attempt(alice, trusting(CAROL, folder), None)
        assert foreign == banned
        rows.append((name, *cells, banned))
    links = [await link(alice, None)] * len(CREDENTIALS)
    rows.append(("peer port: a liveness link", *links, await link(alice, BOB), await link(alice, CAROL)))
    return rows


async def test_every_route_admits_exactly_whom_the_page_says(tmp_path: Path) -> None:
    """DESIGN section 5: levels none, read, member, admin, and members by certificate; everybody else nothing."""
    peer = FakePeer()
    async with (
        open_api(peer, faults=FaultPlane(random=random.Random(1))) as server,
        issuer(tmp_path, is_banned=lambda peer_id: peer_id == PeerId(CAROL.peer_id)) as alice,
    ):
        rows = [await api_row(server, route, tmp_path) for route in ROUTES]
        rows += await peer_rows(alice, tmp_path)
    table = [("route", *COLUMNS), ("---",) * (len(COLUMNS) + 1), *rows]
    text = "".join("| " + " | ".join(row) + " |\n" for row in table)
    found = _BLOCK.search(PAGE.read_text())

    assert found is not None and found["table"] == text, f"docs/api.md should show:\n{text}"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_the_table_of_routes_and_the_page_agree_on_levels(route: Route) -> None:
    """Each level may do what those before it may: the first column that says yes is the route's level."""
    row = f"| `{route.method} {route.path}` |"
    line = next(line for line in PAGE.read_text().splitlines() if line.startswith(row))
    cells = [cell.strip() for cell in line.strip("|").split("|")][1:]
    by_level = dict(zip(CREDENTIALS, cells, strict=False))

    assert [by_level[level] == "yes" for level in LEVELS] == [
        LEVELS.index(level) >= LEVELS.index(route.level) for level in LEVELS
    ]
