"""A small synchronous client of the HTTP API, for the command line.

Only the standard library, so that a command starts fast. One client keeps one connection alive. Every wait has
a deadline; every answer has a largest size. One thing is sent again here: a reading request whose kept connection
ended just as it was sent (RFC 9112, section 9.3.1). Whatever else may be repeated, the caller knows.

    ApiError
    ├── NoConnection     nothing listens there, or nothing accepts in time: the request was never sent
    ├── NoAnswer         the connection ended, or the deadline passed, before the whole answer was there
    └── ProblemAnswer    the peer answered with a problem document (RFC 9457)
"""

import contextlib
import http.client
import json
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any, Final, TypeAlias
from urllib.parse import urlsplit

from protocol.errors import PairError

Document: TypeAlias = Any
"""A decoded JSON document in one of the shapes of ``node.shapes``; that module itself is too heavy to import here."""

ANSWER_SIZE_MAX_BYTES: Final = 2**28
"""Largest accepted body: a listing of all keys that one owner may have fits several times."""

EVENT_SIZE_MAX_BYTES: Final = 2**22
"""Largest accepted line of an event stream: a value of 1 MiB in base64 and JSON fits."""

CONNECT_TIMEOUT_S: Final = 2.0
"""Longest wait for a connection; a living peer accepts in milliseconds."""

_PIECE_SIZE_BYTES: Final = 2**16


class ApiError(PairError):
    """A request ended without success."""


class NoConnection(ApiError):
    """No connection could be made; nothing was sent."""


class NoAnswer(ApiError):
    """The request was sent, at least in part, and no whole answer came: what it did is unknown.

    Attributes:
        timed_out: Whether the deadline passed; otherwise the connection ended.
    """

    def __init__(self, text: str, *, timed_out: bool) -> None:
        super().__init__(text)
        self.timed_out = timed_out


class ProblemAnswer(ApiError):
    """The peer answered with an error.

    Attributes:
        status: The HTTP status, 300 or more.
        problem: The problem document; made up from the status when the peer sent none.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"))
        self.status = status
        self.problem = dict(problem)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole successful answer."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""

    body: bytes

    def document(self) -> Document:
        """Return the decoded JSON body.

        Raises:
            ProblemAnswer: The body is no JSON: whatever answers there is no peer.
        """
        return _decoded(self.body)


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One server-sent event."""

    kind: str
    id: str
    """Cursor to resume after; empty when the event has none."""

    text: str

    def document(self) -> Document:
        """Return the decoded JSON data; raises ``ProblemAnswer`` like ``Answer.document``."""
        return _decoded(self.text.encode())


@dataclass(slots=True)
class ApiClient:
    """Speaks to one peer. Not for several threads."""

    url: str
    """``http://HOST:PORT``."""

    token: str | None = None
    timeout_s: float = 10.0
    """Deadline of a request for which the call names none, in seconds."""

    _connection: http.client.HTTPConnection | None = field(default=None, init=False)
    _socket: socket.socket | None = field(default=None, init=False)
    """Kept apart: ``http.client`` forgets it once the peer says "Connection: close", but the body still comes."""

    def request(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | IO[bytes] | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Send one request and return the whole answer.

        A file is sent piece by piece; its size must be in ``Content-Length``.

        Raises:
            NoConnection, NoAnswer, ProblemAnswer: See the module.
        """
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        try:
            with self._send(method, path, headers=headers, body=body, deadline=deadline) as response:
                answer = self._read_answer(response, deadline)
        except NoAnswer:
            self.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise _no_answer(error, self.url) from error
        if answer.status >= 300:
            raise ProblemAnswer(answer.status, _problem_of(answer))
        return answer

    def events(
        self, path: str, *, headers: Mapping[str, str] | None = None, silence_max_s: float | None = None
    ) -> Iterator[ServerEvent]:
        """Yield the server-sent events of ``path`` until the connection ends, which raises ``NoAnswer``.

        Args:
            silence_max_s: Longest time without a single byte, comments included; None waits for ever.

        Raises:
            NoConnection, NoAnswer, ProblemAnswer: See the module.
        """
        accept = {"Accept": "text/event-stream", **(headers or {})}
        deadline = time.monotonic() + self.timeout_s
        try:
            with self._send("GET", path, headers=accept, body=None, deadline=deadline) as response:
                if response.status >= 300:
                    answer = self._read_answer(response, deadline)
                    raise ProblemAnswer(answer.status, _problem_of(answer))
                self._wait_at_most(silence_max_s)
                yield from _parse_events(response)
            raise NoAnswer(f"{self.url} ended the stream", timed_out=False)
        except (OSError, http.client.HTTPException) as error:
            raise _no_answer(error, self.url) from error
        finally:
            self.close()

    def close(self) -> None:
        """End the connection. Idempotent; the next request opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = self._socket = None

    def _send(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None,
        body: bytes | IO[bytes] | None,
        deadline: float,
    ) -> http.client.HTTPResponse:
        all_headers = dict(headers or {})
        if self.token is not None:
            all_headers["Authorization"] = f"Bearer {self.token}"
        kept = self._connection
        connection = self._connected(deadline)

        def ask() -> http.client.HTTPResponse:
            # A peer that refuses a body answers before it has read all of it: that answer is worth reading.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.request(method, path, body=body, headers=all_headers)
            self._wait_at_most(_remaining(deadline, self.url))
            return connection.getresponse()

        try:
            return ask()
        except ConnectionError as ended:
            if method != "GET" or connection is not kept:
                raise
            # The peer closed it while idle, as the request was on its way. Should it be gone, then since just now.
            self.close()
            try:
                connection = self._connected(deadline)
            except NoConnection:
                raise ended from None
        return ask()

    def _connected(self, deadline: float) -> http.client.HTTPConnection:
        """Return the open connection, or a new one; a connection that the peer closed while idle is replaced."""
        if self._connection is not None and self._connection.sock is not None:
            if _is_quiet(self._connection.sock):
                self._connection.sock.settimeout(_remaining(deadline, self.url))
                return self._connection
            self.close()
        host, port = host_and_port(self.url)
        connection = http.client.HTTPConnection(
            host, port, timeout=min(CONNECT_TIMEOUT_S, _remaining(deadline, self.url)), blocksize=_PIECE_SIZE_BYTES
        )
        try:
            connection.connect()
        except (OSError, UnicodeError) as error:  # the latter: a host name that no name service could know
            connection.close()
            raise NoConnection(f"{self.url}: {_reason(error)}") from error
        self._connection, self._socket = connection, connection.sock
        self._wait_at_most(_remaining(deadline, self.url))
        return connection

    def _read_answer(self, response: http.client.HTTPResponse, deadline: float) -> Answer:
        pieces: list[bytes] = []
        size = 0
        while True:
            self._wait_at_most(_remaining(deadline, self.url))
            piece = response.read1(_PIECE_SIZE_BYTES)
            if not piece:
                break
            size += len(piece)
            if size > ANSWER_SIZE_MAX_BYTES:
                raise NoAnswer(f"{self.url} sent more than {ANSWER_SIZE_MAX_BYTES} bytes", timed_out=False)
            pieces.append(piece)
        # A peer always says how long its answer is: without that, nothing tells a whole one from a half.
        if response.length or (response.length is None and not response.chunked):
            raise NoAnswer(f"{self.url} ended the answer early", timed_out=False)
        response.close()  # only then does the connection take the next request
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(status=response.status, headers=headers, body=b"".join(pieces))

    def _wait_at_most(self, timeout_s: float | None) -> None:
        assert self._socket is not None
        self._socket.settimeout(timeout_s)


def host_and_port(url: str) -> tuple[str, int]:
    """Split ``http://HOST:PORT``.

    Raises:
        ValueError: It is no such address; the text says what is wrong.
    """
    parts = urlsplit(url)
    if parts.scheme != "http":
        raise ValueError("an API address starts with http://")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment or parts.username:
        raise ValueError("an API address is http://HOST:PORT and nothing more")
    return parts.hostname, parts.port or 80


def _remaining(deadline: float, url: str) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise NoAnswer(f"{url} did not answer in time", timed_out=True)
    return left


def _is_quiet(sock: socket.socket) -> bool:
    """Return whether an idle connection is still open: nothing may arrive, not even its end."""
    sock.settimeout(0)
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _no_answer(error: Exception, url: str) -> NoAnswer:
    timed_out = isinstance(error, TimeoutError)
    text = "did not answer in time" if timed_out else f"broke off: {_reason(error)}"
    return NoAnswer(f"{url} {text}", timed_out=timed_out)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, UnicodeError):
        return "no host can have that name"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _decoded(body: bytes) -> Document:
    try:
        return json.loads(body.decode())  # given bytes, it would let lone surrogates pass
    except (ValueError, RecursionError) as error:
        problem = {"type": "bad-answer", "title": "The answer is no JSON", "status": 502, "detail": _NO_PEER_THERE}
        raise ProblemAnswer(502, problem) from error


_NO_PEER_THERE: Final = "what answers there is not a peer's API"


def _problem_of(answer: Answer) -> Mapping[str, Any]:
    """Return the problem document of an answer, or one made from its status."""
    title = http.client.responses.get(answer.status, "Unknown status")
    made_up = {"type": "about:blank", "title": title, "status": answer.status, "detail": title}
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(answer.body.decode())
        if isinstance(document, dict) and "title" in document:
            return {**made_up, **document, "status": answer.status}
    return made_up


def _parse_events(response: http.client.HTTPResponse) -> Iterator[ServerEvent]:
    """Split a stream into events (HTML Living Standard, section 9.2.6): fields end with an empty line."""
    kind, cursor, data = "message", "", list[str]()
    while line := response.readline(EVENT_SIZE_MAX_BYTES):
        if not line.endswith(b"\n"):
            return
        text = line.decode(errors="replace").rstrip("\r\n")
        if not text:
            if data:
                yield ServerEvent(kind=kind, id=cursor, text="\n".join(data))
            kind, data = "message", []
            continue
        name, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            cursor = value
        elif name == "data":
            data.append(value)
