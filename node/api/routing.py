"""One table of routes, matched on the raw request target.

A path is matched as it was sent, nothing decoded and nothing normalised: ``%2F`` and ``..`` in a key are part of
the key. Templates end in at most one variable, which takes the whole rest of the path.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from node.api.context import Context
from node.api.limits import PARAMETERS_MAX, TIMEOUT_DEFAULT_S, TIMEOUT_MAX_S
from node.api.percent import QueryError, parse_query
from node.api.tokens import LEVELS, Level
from node.errors import OperationError
from protocol.errors import ConfigError

UNMATCHED: Final = "unmatched"
"""Route name, in the metrics, of requests that reach no route."""

_KEY_PARAMETERS: Final = ("key", "prefix")


class MethodNotAllowed(OperationError):
    """The path is known and the method is not.

    Attributes:
        allowed: Value of the ``Allow`` header.
    """

    def __init__(self, method: str, allowed: str) -> None:
        super().__init__(
            "method-not-allowed", f"{method[:32]!r} is not allowed here", next_step=f"use {allowed}"
        )
        self.allowed = allowed


class Call:
    """One request on its way to a handler."""

    __slots__ = ("query", "request", "tail")

    def __init__(self, request: web.BaseRequest, *, tail: str, query: str) -> None:
        self.request = request
        self.tail = tail
        """What the template's variable stands for, still encoded; empty without one."""

        self.query = query
        """The query string, still encoded."""

    def parameters(self, *allowed: str) -> dict[str, str]:
        """Return the decoded parameters of the query.

        Raises:
            OperationError: ``bad-request``: one is malformed, repeated or none of ``allowed``; ``key-invalid``: a
                key or prefix cannot be read.
        """
        if not self.query:
            return {}
        try:
            parameters = parse_query(self.query, parameters_max=PARAMETERS_MAX)
        except QueryError as error:
            kind = "key-invalid" if error.parameter in _KEY_PARAMETERS else "bad-request"
            raise OperationError(kind, f"query: {error}", next_step="percent-encode it as UTF-8") from error
        for name in parameters:
            if name not in allowed:
                known = ", ".join(allowed) or "none"
                raise OperationError("bad-request", f"unknown parameter {name!r}", next_step=f"known are: {known}")
        return parameters

    def header(self, name: str) -> str | None:
        """Return a request header, or None.

        Raises:
            OperationError: ``bad-request``: it is there more than once, and who knows which one was meant.
        """
        values = self.request.headers.getall(name, ())
        if len(values) > 1:
            raise OperationError("bad-request", f"{len(values)} {name} headers instead of one", next_step="send one")
        return values[0] if values else None

    def seconds(self, name: str, *, maximum_s: float) -> float | None:
        """Return a header that holds a duration in seconds, or None without it.

        Raises:
            OperationError: ``bad-request``: not a number above 0 and up to ``maximum_s``.
        """
        text = self.header(name)
        if text is None:
            return None
        try:
            duration_s = float(text) if text.isascii() and "_" not in text else 0.0
        except ValueError:
            duration_s = 0.0
        if not 0 < duration_s <= maximum_s:  # also false for "nan"
            raise OperationError(
                "bad-request",
                f"{name}: {text!r} is no duration",
                next_step=f"give seconds above 0, up to {maximum_s:g}",
            )
        return duration_s

    @property
    def timeout_s(self) -> float:
        """How long the client will wait (``Pair-Timeout``)."""
        return self.seconds("Pair-Timeout", maximum_s=TIMEOUT_MAX_S) or TIMEOUT_DEFAULT_S

    @property
    def wants_explain(self) -> bool:
        """Whether the answer shall say why (``Pair-Explain: 1``)."""
        return self.header("Pair-Explain") == "1"


Handler = Callable[[Context, Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One documented parameter of a route."""

    name: str
    place: str
    """``path``, ``query`` or ``header``."""

    summary: str
    schema: str = "string"
    """A JSON Schema type."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """One route: what it matches, who may use it, what it does and what its page says."""

    method: str
    path: str
    """Matched literally, but for one ``{name}`` at its end."""

    level: Level
    handler: Handler
    summary: str
    parameters: tuple[Parameter, ...] = ()
    body: Any = None
    """Type of the request body: a struct for JSON, ``bytes`` for raw bytes, None for no body."""

    answer: Any = bytes
    """Type of the successful answer: a struct or list of structs for JSON, ``bytes`` for others."""

    media_type: str = "application/json"
    statuses: tuple[int, ...] = (200,)
    """HTTP statuses of that answer."""

    problems: tuple[str, ...] = ()
    """Types of problems that are particular to this route."""

    is_stream: bool = False
    """Whether the answer lasts: it is an event stream."""

    @property
    def tag(self) -> str:
        """The group that the page shows it in."""
        parts = self.path.split("/")
        return parts[2].partition("-")[0] if parts[1] == "v1" else "pages"


class Router:
    """Finds the route of a request."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """Take the table.

        Raises:
            ConfigError: A route has no valid level or is declared twice.
        """
        self._exact: dict[str, dict[str, Route]] = {}
        self._tails: dict[str, dict[str, Route]] = {}
        for route in routes:
            if route.level not in LEVELS:
                raise ConfigError(f"route {route.method} {route.path} has no level", next_step="report this defect")
            start, brace, _ = route.path.partition("{")
            methods = (self._tails if brace else self._exact).setdefault(start, {})
            if route.method in methods:
                raise ConfigError(f"route {route.method} {route.path} is there twice", next_step="report this defect")
            methods[route.method] = route

    def match(self, method: str, path: str) -> tuple[Route, str]:
        """Return the route of ``path`` and the part of it that the template's variable takes, still encoded.

        Raises:
            OperationError: ``not-found`` or ``method-not-allowed``.
        """
        methods, tail = self._exact.get(path), ""
        if methods is None:
            methods, tail = self._match_tail(path)
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            raise MethodNotAllowed(method, ", ".join(sorted(methods) + (["HEAD"] if "GET" in methods else [])))
        return route, tail

    def _match_tail(self, path: str) -> tuple[dict[str, Route], str]:
        for start, methods in self._tails.items():
            if path.startswith(start):
                return methods, path[len(start) :]
        raise OperationError("not-found", "there is no such route", next_step="see /docs for what there is")
