"""Request bodies, with a bound on size, on slowness and on depth. Levels are checked before a byte is read."""

import asyncio
from typing import TypeVar

import msgspec
from aiohttp import web

from node.api.limits import JSON_BODY_SIZE_MAX_BYTES, ApiLimits
from node.api.responses import JSON_MEDIA_TYPE
from node.errors import OperationError

_T = TypeVar("_T")


async def read_body(request: web.BaseRequest, *, size_max_bytes: int, limits: ApiLimits) -> bytes:
    """Return the whole body of ``request``; nothing beyond ``size_max_bytes`` is ever kept.

    Raises:
        OperationError: ``value-too-large``, ``request-timeout`` or ``bad-request``.
        ConnectionError: The client has gone.
    """
    announced = request.content_length
    if announced is not None and announced > size_max_bytes:
        raise _too_large(size_max_bytes)
    await _answer_expectation(request)
    if not request.body_exists:
        return b""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    body = bytearray()
    try:
        async with asyncio.timeout_at(begun + limits.body_grace_s) as deadline:
            while chunk := await request.content.readany():
                if len(body) + len(chunk) > size_max_bytes:
                    raise _too_large(size_max_bytes)
                body += chunk
                allowed_s = limits.body_grace_s + len(body) / limits.body_rate_min_bytes_per_s
                deadline.reschedule(begun + min(allowed_s, limits.body_timeout_s))
    except TimeoutError as error:
        raise OperationError(
            "request-timeout", f"only {len(body)} bytes of the body came in time", next_step="send it faster"
        ) from error
    except web.RequestPayloadError as error:
        raise OperationError("bad-request", "the body is malformed or shorter than announced") from error
    return bytes(body)


async def read_json(request: web.BaseRequest, kind: type[_T], *, default: _T | None = None, limits: ApiLimits) -> _T:
    """Return the JSON body of ``request`` as ``kind``, or ``default``, if given, for an empty one. Types are strict.

    Raises:
        OperationError: ``media-type-refused``, ``bad-request``, or as ``read_body``.
        ConnectionError: The client has gone.
    """
    body = await read_body(request, size_max_bytes=JSON_BODY_SIZE_MAX_BYTES, limits=limits)
    if not body and default is not None:
        return default
    if request.content_type != JSON_MEDIA_TYPE:
        raise OperationError(
            "media-type-refused", "the body must be JSON", next_step=f"send `Content-Type: {JSON_MEDIA_TYPE}`"
        )
    return decode_json(body, kind)


def decode_json(body: bytes, kind: type[_T]) -> _T:
    """Return the JSON in ``body`` as ``kind``.

    Raises:
        OperationError: ``bad-request``; nothing else, for any bytes at all.
    """
    try:
        return msgspec.json.decode(body, type=kind, strict=True)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise OperationError("bad-request", f"the body does not fit: {error}", next_step="see /docs") from error


async def _answer_expectation(request: web.BaseRequest) -> None:
    """Tell a client that waits for it (RFC 9110, section 10.1.1) to go on; its request is acceptable so far."""
    expectation = request.headers.get("Expect")
    if expectation is None:
        return
    if expectation.lower() != "100-continue":
        raise OperationError("bad-request", f"the expectation {expectation!r} is unknown")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0  # The response itself has not begun.


def _too_large(size_max_bytes: int) -> OperationError:
    return OperationError(
        "value-too-large",
        f"the body is larger than {size_max_bytes} bytes",
        next_step="share large things as files: `pair share`",
    )
