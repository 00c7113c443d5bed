"""The HTTP server of a peer: binds, takes each request past the guards to its handler, and stops in bounded time."""

import asyncio
import errno
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiohttp import web

from node.api.connection import ConnectionCaps, ConnectionServer
from node.api.context import Context
from node.api.event_stream import StreamHost
from node.api.guards import Guard
from node.api.limits import ApiLimits
from node.api.metrics import ApiMetrics
from node.api.openapi import openapi_document
from node.api.problems import problem_response
from node.api.routes import ROUTES
from node.api.routing import UNMATCHED, Call, MethodNotAllowed, Route, Router
from node.api.tokens import TokenTable
from node.api.writes import OwnedWrites
from node.errors import OperationError
from node.faults.plane import FaultPlane
from node.service import PeerService
from protocol.errors import ConfigError

_logger = logging.getLogger(__name__)

_INTERNAL: Final = OperationError("internal", "the peer could not answer this", next_step="see the peer's log")


class ApiServer:
    """Serves one ``PeerService`` over HTTP."""

    def __init__(
        self,
        *,
        service: PeerService,
        tokens: Mapping[str, str],
        bind: str,
        port: int,
        hosts: Sequence[str],
        metrics: Callable[[], Mapping[str, float]],
        faults: FaultPlane | None = None,
        limits: ApiLimits | None = None,
        routes: Sequence[Route] = ROUTES,
    ) -> None:
        """Prepare; nothing listens before ``start``.

        Args:
            service: The peer.
            tokens: Token of each level (``read``, ``member``, ``admin``).
            bind: IP address to listen on.
            port: Port to listen on; 0 takes any free one.
            hosts: Further names that the Host header may hold, as ``NAME`` or ``NAME:PORT``.
            metrics: Gives further numbers for ``/metrics`` by name, such as the counters of datagrams.
            faults: What ``/v1/faults`` is for; None without ``--faults``.
            limits: Bounds; the defaults are what ships.
            routes: The table of routes.

        Raises:
            ConfigError: A token or a route cannot work.
        """
        self._service = service
        self._tokens = TokenTable(tokens)
        self._bind = bind
        self._wanted_port = port
        self._hosts = tuple(hosts)
        self._counters = metrics
        self._faults = faults
        self._limits = limits or ApiLimits()
        self._routes = tuple(routes)
        self._router = Router(self._routes)
        self._serving: _Serving | None = None

    @property
    def port(self) -> int:
        """The port that is listened on.

        Raises:
            AssertionError: The server does not run.
        """
        assert self._serving is not None, "the API does not listen yet"
        return self._serving.port

    async def start(self) -> None:
        """Listen and serve.

        Raises:
            ConfigError: The address or the port cannot be had.
        """
        assert self._serving is None, "the API listens already"
        streams = StreamHost(self._limits)
        caps = ConnectionCaps(self._limits)
        context = Context(
            service=self._service,
            writes=OwnedWrites(limit=self._limits.writes_max),
            streams=streams,
            metrics=ApiMetrics(
                service=self._service, counters=self._counters, connections=caps, streams=streams
            ),
            limits=self._limits,
            faults=self._faults,
            openapi=functools.partial(openapi_document, self._routes),
        )
        serving = _Serving(context=context, router=self._router, tokens=self._tokens, caps=caps)
        await serving.listen(bind=self._bind, port=self._wanted_port, hosts=self._hosts)
        self._serving = serving

    async def stop(self) -> None:
        """Stop listening, end event streams, let requests at work end for a moment. Idempotent; within a second."""
        serving, self._serving = self._serving, None
        if serving is not None:
            await serving.close()


class _Serving:
    """What exists only between start and stop."""

    def __init__(self, *, context: Context, router: Router, tokens: TokenTable, caps: ConnectionCaps) -> None:
        self._context = context
        self._router = router
        self._tokens = tokens
        self._limits = context.limits
        self._connections = ConnectionServer(self._answer, caps=caps, limits=self._limits)
        self._guard = Guard(bind="127.0.0.1", port=0, hosts=())
        self._listener: asyncio.Server | None = None
        self.port = 0

    async def listen(self, *, bind: str, port: int, hosts: Sequence[str]) -> None:
        loop = asyncio.get_running_loop()
        try:
            listener = await loop.create_server(
                self._connections, host=bind, port=port, backlog=self._limits.backlog, start_serving=False
            )
        except (OSError, UnicodeError, OverflowError) as error:
            raise _listen_error(error, bind, port) from error
        self._listener = listener
        self.port = listener.sockets[0].getsockname()[1]
        self._guard = Guard(bind=bind, port=self.port, hosts=hosts)
        await listener.start_serving()

    async def close(self) -> None:
        grace_s = self._limits.stop_grace_s
        assert self._listener is not None
        self._listener.close()
        self._context.streams.end_all()
        self._connections.pre_shutdown()
        # Waits at most twice for what it is given: for requests to end, then for the cancelled ones to do so.
        await self._connections.shutdown(timeout=grace_s / 2)
        await self._context.writes.close(grace_s=grace_s / 4)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request; whatever goes wrong becomes a problem document."""
        route: Route | None = None
        try:
            self._guard.check(request)
            path, _, query = request.raw_path.partition("?")
            if "#" in request.raw_path:
                raise OperationError("bad-request", "a request target has no fragment", next_step="send # as %23")
            route, tail = self._router.match(request.method, path)
            self._tokens.demand(route.level, request.headers.get("Authorization"))
            response = await route.handler(self._context, Call(request, tail=tail, query=query))
        except OperationError as error:
            response = _refusal(request, error)
        except ConnectionError:
            raise
        except Exception:
            _logger.exception("a request to %s failed", route.path if route else UNMATCHED)
            response = _refusal(request, _INTERNAL)
        self._context.metrics.count(
            route=route.path if route else UNMATCHED, method=route.method if route else "-", status=response.status
        )
        return response


def _refusal(request: web.BaseRequest, error: OperationError) -> web.StreamResponse:
    if request.writer.output_size > 0:
        raise ConnectionResetError("an answer has begun already") from error
    response = problem_response(error)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = error.allowed
    return response


def _listen_error(error: Exception, bind: str, port: int) -> ConfigError:
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return ConfigError(
            f"the API port {port} on {bind} is taken by another program",
            next_step="choose another with --api-port, or see `pair ps` for peers that run already",
        )
    return ConfigError(
        f"the API cannot listen on {bind!r} port {port}: {getattr(error, 'strerror', None) or error}",
        next_step="give --api-bind an address of this machine, and --api-port a number from 1024 to 65535",
    )
