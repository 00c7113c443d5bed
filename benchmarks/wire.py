"""A bare HTTP/1.1 client for measuring: one kept-alive connection, little of its own between the two clocks."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

CONNECT_TIMEOUT_S: Final = 5.0
REQUEST_TIMEOUT_S: Final = 15.0
_LINE_SIZE_MAX_BYTES: Final = 2**22


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""

    body: bytes

    def document(self) -> Any:
        """Return the decoded JSON body."""
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """One connection to one server; one request at a time. Not reopened when it ends: see ``Client``."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiter: asyncio.Future[Response] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        response = _parsed(self._buffer)
        if response is not None:
            self._buffer.clear()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(response)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(ConnectionResetError("the server ended the connection"))

    @property
    def is_open(self) -> bool:
        """Whether a request can be sent."""
        return self._transport is not None

    async def exchange(self, request: bytes) -> Response:
        """Send one whole request and return the answer.

        Raises:
            ConnectionError: The connection ended before the whole answer.
        """
        if self._transport is None:
            raise ConnectionResetError("the server ended the connection")
        self._waiter = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._waiter

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None


class Client:
    """Speaks to one server and opens a new connection when the last one ended."""

    def __init__(self, url: str, *, token: str | None = None) -> None:
        """Take ``http://HOST:PORT`` and the bearer token, if one is needed; connects with the first request."""
        self.url = url
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None, url
        self._address = (parts.hostname, parts.port)
        self._head = f"Host: {parts.hostname}:{parts.port}\r\n"
        if token:
            self._head += f"Authorization: Bearer {token}\r\n"
        self._connection: Connection | None = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> Response:
        """Return the answer, whatever its status.

        Raises:
            OSError: No connection, or it ended early (``ConnectionError``), or no answer in time (``TimeoutError``).
        """
        more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        if body or method in ("PUT", "POST"):
            more += f"Content-Length: {len(body)}\r\n"
        request = f"{method} {path} HTTP/1.1\r\n{self._head}{more}\r\n".encode() + body
        try:
            async with asyncio.timeout(timeout_s):
                return await (await self.connect()).exchange(request)
        except BaseException:
            self.close()
            raise

    async def connect(self) -> Connection:
        """Return the open connection, a new one when there is none."""
        if self._connection is None or not self._connection.is_open:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, self._connection = await asyncio.get_running_loop().create_connection(Connection, *self._address)
        return self._connection

    def close(self) -> None:
        """End the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@dataclass(frozen=True, slots=True)
class StreamEvent:
    """One server-sent event."""

    kind: str
    document: Any


async def stream_events(url: str, path: str, *, token: str) -> AsyncIterator[StreamEvent]:
    """Yield the server-sent events of ``path`` until the connection ends.

    Each event is taken to come in one chunk, as a peer sends it: the lines with the sizes of chunks are passed over.

    Raises:
        OSError: No connection, or the answer is no stream.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=_LINE_SIZE_MAX_BYTES)
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {token}\r\n"
            "Accept: text/event-stream\r\n\r\n".encode()
        )
        status = await reader.readline()
        if b" 200 " not in status:
            raise ConnectionError(f"{url}{path} answered {status.decode().strip()}")
        kind = ""
        while line := await reader.readline():
            if line.startswith(b"event: "):
                kind = line[7:].decode().strip()
            elif line.startswith(b"data: "):
                yield StreamEvent(kind, json.loads(line[6:]))
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def _parsed(buffer: bytearray) -> Response | None:
    """Return the response in ``buffer`` once it is whole; the server names the length of every body."""
    end = buffer.find(b"\r\n\r\n")
    if end < 0:
        return None
    status_line, *lines = buffer[:end].decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = int(headers.get("content-length", "0"))
    begin = end + 4
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunked(bytes(buffer[begin:]))
        return None if body is None else Response(int(status_line.split()[1]), headers, body)
    if len(buffer) < begin + length:
        return None
    return Response(int(status_line.split()[1]), headers, bytes(buffer[begin : begin + length]))


def _unchunked(data: bytes) -> bytes | None:
    """Return the body that ``data`` holds in chunks; None while the last one is missing."""
    body = bytearray()
    while True:
        size_line, found, rest = data.partition(b"\r\n")
        if not found:
            return None
        size = int(size_line.split(b";")[0], 16)
        if len(rest) < size + 2:
            return None
        if size == 0:
            return bytes(body)
        body += rest[:size]
        data = rest[size + 2 :]
