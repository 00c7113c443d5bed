"""HTTP between peers: one route, ``POST /peer/v1/request``, with a message as body and a message as answer.

The caller's id comes from its certificate, so a handler knows who asks without believing anybody. Everything is
bounded: the size of a body, the time until it has arrived and until the answer has left, and the time a handler
takes.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from node.peer_limits import PeerPortLimits
from node.tls import peer_id_of_transport
from protocol import codec
from protocol.errors import RemoteProtocolError
from protocol.ids import PeerId
from protocol.limits import LARGE_MESSAGE_SIZE_MAX_BYTES
from protocol.messages import Reply, Request

REQUEST_PATH: Final = "/peer/v1/request"
MESSAGE_TYPE: Final = "application/octet-stream"

KEEPALIVE_S: Final = 15.0
"""How long a connection may be idle; clients give theirs up earlier (``node.peer_client``)."""

_TRANSFER_RATE_MIN_BYTES_PER_S: Final = 1024
"""Slower than this, after the grace time of ``PeerPortLimits``, is no progress."""

_STOP_TIMEOUT_S: Final = 1.0

Handler = Callable[[PeerId, Request], Awaitable[Reply]]
"""Answers one request of an authenticated peer. What it raises but ``RemoteProtocolError`` is logged as a defect."""

_log = logging.getLogger("pair.peer")


class PeerHttp:
    """The HTTP server of the peer port, without a port of its own: connections are given to it."""

    def __init__(self, handle: Handler, limits: PeerPortLimits) -> None:
        self._handle = handle
        self._limits = limits
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Become able to serve connections."""
        app = web.Application(client_max_size=LARGE_MESSAGE_SIZE_MAX_BYTES)
        app.router.add_post(REQUEST_PATH, self._serve)
        app.on_response_prepare.append(_say_less)
        self._runner = web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=KEEPALIVE_S,
            shutdown_timeout=_STOP_TIMEOUT_S,
            lingering_time=0,  # a refused body is not read to its end
            auto_decompress=False,
            logger=_log,
        )
        await self._runner.setup()

    async def stop(self) -> None:
        """Let requests at work finish for a second, then end them. Idempotent."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def new_protocol(self) -> asyncio.Protocol:
        """Return the protocol that serves one connection; only between ``start`` and ``stop``."""
        assert self._runner is not None and self._runner.server is not None, "started and not stopped"
        return self._runner.server()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        try:
            peer_id = peer_id_of_transport(request.transport)
            message = codec.decode_large(await _read_body(request, self._limits.transfer_grace_s))
            if not isinstance(message, Request):
                raise RemoteProtocolError(f"{type(message).__name__} is no request")
            async with asyncio.timeout(self._limits.handler_timeout_s):
                reply = await self._handle(peer_id, message)
        except RemoteProtocolError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        except TimeoutError as error:
            raise web.HTTPServiceUnavailable(text="no answer in time") from error
        return await _send(request, codec.encode_large(reply), self._limits.transfer_grace_s)


async def _read_body(request: web.Request, grace_s: float) -> bytes:
    """Return the body; its declared size is not believed but refused early."""
    if request.headers.get("Content-Encoding"):
        raise web.HTTPUnsupportedMediaType
    if (request.content_length or 0) > LARGE_MESSAGE_SIZE_MAX_BYTES:
        raise _too_large(request.content_length or 0)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    body = bytearray()
    while True:
        earned_s = len(body) / _TRANSFER_RATE_MIN_BYTES_PER_S
        try:
            async with asyncio.timeout_at(started_at + grace_s + earned_s):
                chunk = await request.content.readany()
        except TimeoutError as error:
            raise web.HTTPRequestTimeout(headers={"Connection": "close"}) from error
        except ConnectionError as error:
            raise RemoteProtocolError("the caller has gone") from error
        if not chunk:
            return bytes(body)
        body += chunk
        if len(body) > LARGE_MESSAGE_SIZE_MAX_BYTES:
            raise _too_large(len(body))


async def _send(request: web.Request, data: bytes, grace_s: float) -> web.StreamResponse:
    """Send the answer here, where it has a deadline: a caller that stops reading must not hold it for ever.

    A caller that has gone needs no answer, and that is no fault of this peer.
    """
    response = web.Response(body=data, content_type=MESSAGE_TYPE)
    try:
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(grace_s + len(data) / _TRANSFER_RATE_MIN_BYTES_PER_S):
                await response.prepare(request)
                await response.write_eof()
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response


async def _say_less(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.popall("Server", None)


def _too_large(size_bytes: int) -> web.HTTPRequestEntityTooLarge:
    return web.HTTPRequestEntityTooLarge(
        max_size=LARGE_MESSAGE_SIZE_MAX_BYTES, actual_size=size_bytes, headers={"Connection": "close"}
    )
