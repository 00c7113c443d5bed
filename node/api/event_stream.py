"""Server-sent events (WHATWG HTML, section 9.2): bounded in number, alive by heartbeat, ended at shutdown."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar

from aiohttp import web

from node.api.limits import ApiLimits
from node.api.problems import problem_body
from node.api.responses import new_headers
from node.errors import OperationError

EVENT_STREAM_MEDIA_TYPE = "text/event-stream"

_T = TypeVar("_T")
_CLOSE_S = 0.3
"""How long a source may take to end once nobody listens."""

_OPENING = b"retry: 1000\n\n"
_HEARTBEAT = b": alive\n\n"


class StreamHost:
    """All open event streams of one server. Create it inside the running loop."""

    def __init__(self, limits: ApiLimits) -> None:
        self._limits = limits
        self._open = 0
        self._ending: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def __len__(self) -> int:
        """Streams open now."""
        return self._open

    def end_all(self) -> None:
        """Let every stream end after the event it is writing. Idempotent."""
        if not self._ending.done():
            self._ending.set_result(None)

    async def serve(
        self, request: web.BaseRequest, source: AsyncGenerator[_T, None], encode: Callable[[_T], bytes]
    ) -> web.StreamResponse:
        """Send what ``source`` yields until it, the client or the server ends; then close ``source``.

        A source that fails before it first waits becomes an ordinary problem document; one that fails later sends
        that document as an event ``problem`` and ends.

        Raises:
            OperationError: ``too-many-requests``, or what the source raised at once.
            ConnectionError: The client has gone or does not read.
        """
        if self._open >= self._limits.streams_max:
            raise OperationError("too-many-requests", f"{self._open} event streams are open", next_step="close some")
        self._open += 1
        following = _Following(source)
        try:
            await asyncio.sleep(0)
            following.raise_if_failed()
            response = await _begin(request)
            try:
                while (item := await self._next(request, response, following)) is not None:
                    await self._send(request, response.write(encode(item)))
            except OperationError as error:
                await self._send(request, response.write(sse_event(name="problem", data=problem_body(error))))
            await self._send(request, response.write_eof())
            return response
        finally:
            self._open -= 1
            await following.close()

    async def _next(
        self, request: web.BaseRequest, response: web.StreamResponse, following: "_Following[_T]"
    ) -> _T | None:
        """Return the next item, or None when the source or the server ends; meanwhile keep the stream alive."""
        while not self._ending.done():
            pending = following.pending
            await asyncio.wait(
                (pending, self._ending), timeout=self._limits.heartbeat_s, return_when=asyncio.FIRST_COMPLETED
            )
            if pending.done():
                return following.take()
            if not self._ending.done():
                await self._send(request, response.write(_HEARTBEAT))
        return None

    async def _send(self, request: web.BaseRequest, sending: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self._limits.response_timeout_s):
                await sending
        except TimeoutError as error:
            if request.transport is not None:
                request.transport.abort()  # A close would wait for the client to read what is buffered.
            raise ConnectionResetError("the client does not read") from error


class _Following(Generic[_T]):
    """Asks a source for one item ahead, in a task, so that waiting for it can be left and taken up again."""

    def __init__(self, source: AsyncGenerator[_T, None]) -> None:
        self._source = source
        self.pending: asyncio.Task[_T | None] = asyncio.create_task(_next_of(source))

    def raise_if_failed(self) -> None:
        """Raise what the source raised, if it has."""
        if self.pending.done() and (error := self.pending.exception()) is not None:
            raise error

    def take(self) -> _T | None:
        """Return the item of the finished task, None at the source's end, and ask for the next."""
        item = self.pending.result()
        self.pending = asyncio.create_task(_next_of(self._source))
        return item

    async def close(self) -> None:
        """End the task, then the source."""
        self.pending.cancel()
        await asyncio.wait((self.pending,), timeout=_CLOSE_S)
        if self.pending.done():
            if not self.pending.cancelled():
                self.pending.exception()  # Looked at: whoever had to know was told.
            await self._source.aclose()


def sse_event(*, name: str, data: bytes, id: str | None = None) -> bytes:
    """Return one event; ``data`` is JSON, which never holds a line break."""
    assert id is None or not any(character in id for character in "\r\n\0"), id
    head = f"event: {name}\n" if id is None else f"id: {id}\nevent: {name}\n"
    return head.encode() + b"data: " + data + b"\n\n"


async def _begin(request: web.BaseRequest) -> web.StreamResponse:
    response = web.StreamResponse(headers=new_headers(EVENT_STREAM_MEDIA_TYPE))
    await response.prepare(request)
    await response.write(_OPENING)
    return response


async def _next_of(source: AsyncGenerator[_T, None]) -> _T | None:
    return await anext(source, None)
