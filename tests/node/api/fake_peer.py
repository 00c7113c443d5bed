"""A peer that keeps its values in a dict, and an API server that serves it on a real socket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from node.api import ApiServer
from node.api.limits import ApiLimits
from node.api.routes import ROUTES
from node.api.routing import Route
from node.errors import OperationError
from node.events import EventBus
from node.faults.plane import FaultPlane
from node.service import PeerEvent, ReadResult, WatchedChange
from node.shapes import (
    Asked,
    BanRow,
    Explain,
    Health,
    InviteMade,
    InviteRow,
    KeyEntry,
    KeyListing,
    Leader,
    Member,
    MemberCounts,
    Status,
    WriteReceipt,
)
from protocol.invite_book import InviteState
from protocol.invites import Role
from protocol.records import Record

TOKENS = {"read": "pairt_read", "member": "pairt_member", "admin": "pairt_admin"}
WRITER = b"w" * 32
PEER_ID = "ab" * 32
EXPLAIN = Explain(
    served_by=PEER_ID,
    holders=[PEER_ID],
    asked=[Asked(id=PEER_ID, name="péer", answer="found", version=None, ms=0.25)],
)


@dataclass(slots=True)
class FakeInvites:
    """Implements ``node.service.InviteService``."""

    calls: list[tuple[Any, ...]]

    def create(self, *, role: Role, uses: int, expires_s: int) -> InviteMade:
        self.calls.append(("invite", role, uses, expires_s))
        return InviteMade(
            invite="pair://a-aaaa",
            id="616263646566",
            role=role,
            uses=uses,
            expires="",
            issuer=PEER_ID,
            addresses=[],
            apis=[],
        )

    def listing(self) -> list[InviteRow]:
        self.calls.append(("invites",))
        return [self._row("open")]

    def revoke(self, prefix: str) -> InviteRow:
        self.calls.append(("revoke", prefix))
        if prefix != "616263":
            raise OperationError("not-found", f"no invite {prefix!r}")
        return self._row("revoked")

    def _row(self, state: InviteState) -> InviteRow:
        return InviteRow(
            id="616263646566", role="member", state=state, uses=1, used_by=[], expires="", issuer=PEER_ID
        )


@dataclass(slots=True)
class FakeBans:
    """Implements ``node.service.BanService``."""

    calls: list[tuple[Any, ...]]

    def listing(self) -> list[BanRow]:
        self.calls.append(("bans",))
        return [BanRow(id=PEER_ID, name="fake", state="banned", since="")]

    def ban(self, who: str) -> BanRow:
        self.calls.append(("ban", who))
        return BanRow(id=PEER_ID, name=who, state="banned", since="")

    def lift(self, who: str) -> BanRow:
        self.calls.append(("lift", who))
        return BanRow(id=PEER_ID, name=who, state="lifted", since="")


@dataclass(slots=True)
class FakePeer:
    """Implements ``node.service.PeerService``; a test may hold operations back or make them fail."""

    ready: bool = True
    failure: Exception | None = None
    """Raised by every operation."""

    gate: asyncio.Event | None = None
    """Operations wait for it before they do anything."""

    records: dict[str, Record] = field(default_factory=dict)
    changes: list[Record] = field(default_factory=list)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    cancelled: int = 0
    """Operations that were cancelled before they were done."""

    bus: EventBus = field(default_factory=EventBus)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def invites(self) -> FakeInvites:
        return FakeInvites(self.calls)

    @property
    def bans(self) -> FakeBans:
        return FakeBans(self.calls)

    def health(self) -> Health:
        return Health(alive=True, ready=self.ready)

    def status(self) -> Status:
        return Status(
            id=PEER_ID,
            name="fake",
            network="test",
            version="0",
            ready=self.ready,
            role="follower",
            term=3,
            leader=None,
            mode="available",
            members=MemberCounts(alive=1, suspect=0, failed=0, left=0),
            keys_held=len(self.records),
            uptime_s=1.5,
            profile="local",
        )

    def members(self) -> list[Member]:
        return [
            Member(
                id=PEER_ID,
                name="fake",
                address="127.0.0.1:7400",
                api="http://127.0.0.1:8400",
                state="alive",
                role="follower",
                incarnation=0,
                rtt_ms=None,
                since="2026-01-01T00:00:00.000Z",
            )
        ]

    def leader(self) -> Leader:
        return Leader()

    async def hand_over(self, to: str | None) -> Leader:
        await self._begin("hand_over", to)
        return Leader(id=PEER_ID, term=4)

    async def put(
        self, key: str, value: bytes, *, ttl_s: float | None, if_version: str | None, timeout_s: float
    ) -> WriteReceipt:
        await self._begin("put", key, value, ttl_s, if_version, timeout_s)
        self._check(key, if_version)
        existed = key in self.records
        return self._store(key, value, existed=existed, expires_ms=int((ttl_s or 0) * 1000))

    async def get(self, key: str, *, quorum: bool, timeout_s: float) -> ReadResult:
        await self._begin("get", key, quorum, timeout_s)
        if key not in self.records:
            raise OperationError("not-found", f"no value under {key!r}")
        return ReadResult(self.records[key], EXPLAIN)

    async def delete(self, key: str, *, if_version: str | None, timeout_s: float) -> WriteReceipt:
        await self._begin("delete", key, if_version, timeout_s)
        self._check(key, if_version)
        existed = self.records.pop(key, None) is not None
        return self._store(key, None, existed=existed, expires_ms=0)

    async def keys(self, prefix: str, *, timeout_s: float) -> KeyListing:
        await self._begin("keys", prefix, timeout_s)
        entries = [
            KeyEntry(key=key, version=record.version, size=len(record.value), expires=None)
            for key, record in sorted(self.records.items())
            if key.startswith(prefix)
        ]
        return KeyListing(keys=entries, complete=True)

    async def watch(self, prefix: str, *, exact: bool, since: str | None) -> AsyncGenerator[WatchedChange, None]:
        self.calls.append(("watch", prefix, exact, since))
        if self.failure is not None:
            raise self.failure
        seen = int(since) if since is not None else len(self.changes)
        while True:
            while seen < len(self.changes):
                record = self.changes[seen]
                seen += 1
                if record.key == prefix or (not exact and record.key.startswith(prefix)):
                    yield WatchedChange(record, str(seen))
            self.changed.clear()
            await self.changed.wait()

    def events(self) -> AsyncGenerator[PeerEvent, None]:
        return self.bus.listen()

    async def _begin(self, *call: Any) -> None:
        self.calls.append(call)
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.failure is not None:
            raise self.failure

    def _check(self, key: str, if_version: str | None) -> None:
        stored = self.records[key].version if key in self.records else "none"
        if if_version not in (None, stored):
            raise OperationError("version-mismatch", "the stored version is another", current_version=stored)

    def _store(self, key: str, value: bytes | None, *, existed: bool, expires_ms: int) -> WriteReceipt:
        record = Record(
            author_key=WRITER,
            key=key,
            is_tombstone=value is None,
            value=value or b"",
            stamp=len(self.changes) + 1,
            expires_ms=expires_ms,
        )
        if value is not None:
            self.records[key] = record
        self.changes.append(record)
        self.changed.set()
        return WriteReceipt(
            key=key, version=record.version, holders=[PEER_ID], wanted=1, existed=existed, explain=EXPLAIN
        )


@contextlib.asynccontextmanager
async def open_api(
    peer: FakePeer | None = None,
    *,
    limits: ApiLimits | None = None,
    hosts: Sequence[str] = (),
    bind: str = "127.0.0.1",
    routes: Sequence[Route] = ROUTES,
    metrics: Mapping[str, float] | None = None,
    faults: FaultPlane | None = None,
) -> AsyncIterator[ApiServer]:
    """The API of ``peer`` on a free port of the loopback, for as long as the block runs."""
    server = ApiServer(
        service=peer or FakePeer(),
        tokens=TOKENS,
        bind=bind,
        port=0,
        hosts=hosts,
        metrics=lambda: metrics or {},
        faults=faults,
        limits=limits,
        routes=routes,
    )
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back on a raw connection."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""

    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def problem(self) -> str:
        """The type of the problem document, whose shape is checked."""
        document = self.json()
        assert self.headers["content-type"] == "application/problem+json"
        assert document["status"] == self.status
        assert document["title"]
        assert document["detail"]
        return str(document["type"])


async def call(
    server: ApiServer,
    method: str,
    target: str | bytes,
    *,
    token: str | None = TOKENS["admin"],
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """Send one request, its target as it is, on a connection of its own."""
    lines = {"Host": f"127.0.0.1:{server.port}", "Connection": "close"}
    if token is not None:
        lines["Authorization"] = f"Bearer {token}"
    if body is not None:
        lines["Content-Length"] = str(len(body))
    lines |= headers or {}
    raw_target = target.encode() if isinstance(target, str) else target
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items()).encode()
    request_line = method.encode() + b" " + raw_target + b" HTTP/1.1\r\n"
    return parse_answer(await send_raw(server, request_line + head + b"\r\n" + (body or b"")))


async def send_raw(server: ApiServer, data: bytes, *, host: str = "127.0.0.1") -> bytes:
    """Send bytes and return all that comes back until the server closes."""
    async with asyncio.timeout(15), connected(server, host=host) as (reader, writer):
        writer.write(data)
        return await read_to_end(reader)


@contextlib.asynccontextmanager
async def connected(
    server: ApiServer, *, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A raw connection to the API."""
    reader, writer = await asyncio.open_connection(host, server.port, limit=2**22)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def read_to_end(reader: asyncio.StreamReader) -> bytes:
    """What the server sent until it closed, however it did; the caller has a deadline."""
    received = bytearray()
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(2**16):
            received += piece
    return bytes(received)


def parse_answer(data: bytes) -> Answer:
    """Split a whole answer that has a ``Content-Length``, or ends with its connection."""
    head, _, body = data.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.split(": ", 1) for line in lines)
    return Answer(int(status_line.split()[1]), {name.lower(): value for name, value in pairs}, body)


def request_head(server: ApiServer, method: str, target: str, *, version: str = "1.1", extra: str = "") -> bytes:
    """The head of a request with the admin's token."""
    return (
        f"{method} {target} HTTP/{version}\r\nHost: 127.0.0.1:{server.port}\r\n"
        f"Authorization: Bearer {TOKENS['admin']}\r\n{extra}\r\n"
    ).encode()
