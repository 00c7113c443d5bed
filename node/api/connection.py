"""Connections of the API: capped in number, silent ones closed, broken requests answered with a problem.

The header deadline is aiohttp's keep-alive timer, which runs from the start of a connection, or the end of the last
answer, until a whole request head has arrived, however busily its bytes trickle in.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, cast

from aiohttp import web

from node.api.limits import HEADERS_MAX, LINE_SIZE_MAX_BYTES, ApiLimits
from node.api.problems import PROBLEM_MEDIA_TYPE, problem_body, problem_response
from node.errors import OperationError

_logger = logging.getLogger(__name__)


class ConnectionCaps:
    """Counts connections, in all and by address."""

    def __init__(self, limits: ApiLimits) -> None:
        self._limits = limits
        self._total = 0
        self._by_address: dict[str, int] = {}

    def __len__(self) -> int:
        """Connections open now."""
        return self._total

    def admit(self, address: str) -> bool:
        """Count one more connection from ``address`` (an IP address) unless a cap is reached."""
        from_here = self._by_address.get(address, 0)
        if self._total >= self._limits.connections_max:
            return False
        if from_here >= self._limits.connections_per_address_max and not _is_loopback(address):
            return False
        self._total += 1
        self._by_address[address] = from_here + 1
        return True

    def release(self, address: str) -> None:
        """Count one admitted connection from ``address`` less."""
        self._total -= 1
        remaining = self._by_address[address] - 1
        if remaining:
            self._by_address[address] = remaining
        else:
            del self._by_address[address]


class Connection(web.RequestHandler):
    """One connection of a client."""

    __slots__ = ("_admitted", "_caps", "_limits")

    def __init__(self, server: "ConnectionServer", *, caps: ConnectionCaps, limits: ApiLimits) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.header_timeout_s,
            lingering_time=limits.lingering_s,
            tcp_keepalive=False,
            logger=_logger,
            access_log=None,  # type: ignore[arg-type]
            max_line_size=LINE_SIZE_MAX_BYTES,
            max_field_size=LINE_SIZE_MAX_BYTES,
            max_headers=HEADERS_MAX,
            auto_decompress=False,
        )
        self._caps = caps
        self._limits = limits
        self._admitted: str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        if self._caps.admit(address):
            self._admitted = address
            super().connection_made(transport)
            return
        # These two make the base class take no data from, and keep no account of, a connection never opened.
        self._force_close = True
        self._manager = None
        # uvloop's transports are of no asyncio class.
        cast(asyncio.WriteTransport, transport).write(_TOO_MANY_CONNECTIONS)
        transport.close()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._admitted is not None:
            self._caps.release(self._admitted)
            self._admitted = None
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what was no request at all: a stranger's bytes are not worth a line in the log."""
        if request.writer.output_size > 0:
            raise ConnectionResetError("an answer has begun already")
        if status < 500:
            error = OperationError("bad-request", "this is no HTTP request that the peer understands")
        else:
            _logger.error("cannot answer a request", exc_info=exc)
            error = OperationError("internal", "the peer could not answer", next_step="see the peer's log")
        response = problem_response(error)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer, within a deadline: a client that does not read keeps neither its buffer nor its place."""
        overrun = self._loop.call_later(self._limits.response_timeout_s, self._abort)
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            overrun.cancel()

    def _abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class ConnectionServer(web.Server):
    """Makes a ``Connection`` for each client; a handler ends when its client leaves."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        *,
        caps: ConnectionCaps,
        limits: ApiLimits,
    ) -> None:
        super().__init__(handler, handler_cancellation=True)
        self._caps = caps
        self._limits = limits

    def __call__(self, *arguments: Any) -> web.RequestHandler:
        return Connection(self, caps=self._caps, limits=self._limits)


def _is_loopback(address: str) -> bool:
    return address.startswith(("127.", "::ffff:127.")) or address == "::1"


def _refusal_bytes() -> bytes:
    error = OperationError("too-many-requests", "too many connections are open", next_step="close some, then try again")
    body = problem_body(error)
    head = (
        f"HTTP/1.1 429 Too Many Requests\r\nContent-Type: {PROBLEM_MEDIA_TYPE}\r\nContent-Length: {len(body)}\r\n"
        "Retry-After: 1\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


_TOO_MANY_CONNECTIONS: Final = _refusal_bytes()
