"""Keys and values. Bodies are the raw bytes of values; versions travel as entity tags (RFC 9110, section 8.8.3)."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from node.api.bodies import read_body
from node.api.context import Context
from node.api.limits import EXPLAIN_SIZE_MAX_BYTES, TTL_MAX_S
from node.api.percent import decode_component
from node.api.responses import json_response, new_headers
from node.api.routing import Call
from node.api.writes import OVERTIME_S
from node.errors import OperationError
from node.shapes import Explain, WriteReceipt, text_of_time
from protocol.limits import KEY_SIZE_MAX_BYTES, VALUE_SIZE_MAX_BYTES

VALUE_MEDIA_TYPE: Final = "application/octet-stream"

_T = TypeVar("_T")
_CONSISTENCIES: Final = ("", "default", "quorum")


async def get_or_list(context: Context, call: Call) -> web.StreamResponse:
    """Read ``?key=``, or list the keys below ``?prefix=``."""
    parameters = call.parameters("key", "prefix", "consistency")
    if "key" not in parameters:
        if "consistency" in parameters:
            raise OperationError("bad-request", "a listing has no consistency to choose")
        return await _list(context, call, parameters.get("prefix", ""))
    if "prefix" in parameters:
        raise OperationError("bad-request", "give either key or prefix")
    return await _get(context, call, _valid_key(parameters["key"]), parameters)


async def get(context: Context, call: Call) -> web.StreamResponse:
    """Read the key in the path."""
    return await _get(context, call, _path_key(call), call.parameters("consistency"))


async def put(context: Context, call: Call) -> web.StreamResponse:
    """Write the body under a key."""
    key = _key_of(call)
    ttl_s = call.seconds("Pair-TTL", maximum_s=TTL_MAX_S)
    if_version = _condition(call)
    timeout_s = call.timeout_s
    value = await read_body(call.request, size_max_bytes=VALUE_SIZE_MAX_BYTES, limits=context.limits)
    receipt = await context.writes.run(
        lambda: context.service.put(key, value, ttl_s=ttl_s, if_version=if_version, timeout_s=timeout_s),
        timeout_s=timeout_s,
    )
    return _receipt_response(call, receipt)


async def delete(context: Context, call: Call) -> web.StreamResponse:
    """Delete a key; an absent one is no error."""
    key = _key_of(call)
    if_version = _condition(call)
    timeout_s = call.timeout_s
    receipt = await context.writes.run(
        lambda: context.service.delete(key, if_version=if_version, timeout_s=timeout_s), timeout_s=timeout_s
    )
    return _receipt_response(call, receipt)


async def _get(context: Context, call: Call, key: str, parameters: dict[str, str]) -> web.StreamResponse:
    consistency = parameters.get("consistency", "")
    if consistency not in _CONSISTENCIES:
        raise OperationError(
            "bad-request", f"unknown consistency {consistency!r}", next_step="leave it out or say quorum"
        )
    timeout_s = call.timeout_s
    found = await _in_time(
        context.service.get(key, quorum=consistency == "quorum", timeout_s=timeout_s), timeout_s=timeout_s
    )
    record = found.record
    version = record.version
    headers = new_headers(VALUE_MEDIA_TYPE)
    headers["Cache-Control"] = "no-cache"  # A copy may be kept, and is asked about by its tag.
    headers["ETag"] = f'"{version}"'
    headers["Pair-Writer"] = record.writer.hex()
    if record.expires_ms:
        headers["Pair-Expires"] = text_of_time(record.expires_ms)
    if call.wants_explain:
        headers["Pair-Explain"] = _explain_text(found.explain)
    if _names_version(call.header("If-None-Match"), version):
        del headers["Content-Type"]
        return web.Response(status=304, headers=headers)
    return web.Response(body=record.value, headers=headers)


async def _list(context: Context, call: Call, prefix: str) -> web.StreamResponse:
    if len(prefix.encode()) > KEY_SIZE_MAX_BYTES:
        raise OperationError("key-invalid", f"a prefix has at most {KEY_SIZE_MAX_BYTES} bytes")
    timeout_s = call.timeout_s
    listing = await _in_time(context.service.keys(prefix, timeout_s=timeout_s), timeout_s=timeout_s)
    response = json_response(listing.keys)
    response.headers["Pair-Complete"] = "true" if listing.complete else "false"
    return response


def _receipt_response(call: Call, receipt: WriteReceipt) -> web.Response:
    response = json_response(msgspec.structs.replace(receipt, explain=None))
    response.headers["ETag"] = f'"{receipt.version}"'
    if call.wants_explain and receipt.explain is not None:
        response.headers["Pair-Explain"] = _explain_text(receipt.explain)
    return response


def _key_of(call: Call) -> str:
    """Return the key of a write: the path's, or on the bare path ``?key=``."""
    if call.tail or call.request.raw_path.startswith("/v1/kv/"):
        call.parameters()
        return _path_key(call)
    return _valid_key(call.parameters("key").get("key", ""))


def _path_key(call: Call) -> str:
    try:
        return _valid_key(decode_component(call.tail))
    except ValueError as error:
        raise OperationError("key-invalid", f"the key cannot be read: {error}") from error


def _valid_key(key: str) -> str:
    size = len(key.encode())
    if not 1 <= size <= KEY_SIZE_MAX_BYTES:
        raise OperationError(
            "key-invalid", f"the key has {size} bytes", next_step=f"use 1 to {KEY_SIZE_MAX_BYTES} bytes of UTF-8"
        )
    return key


def _condition(call: Call) -> str | None:
    """Return what the stored version must be: a version, ``none`` for absent, or None for no condition."""
    match, none_match = call.header("If-Match"), call.header("If-None-Match")
    if match is None and none_match is None:
        return None
    if match is None:
        if none_match == "*":
            return "none"
        raise OperationError("bad-request", "If-None-Match on a write can only be *", next_step="see If-Match")
    version = match[1:-1]
    if none_match is not None or match != f'"{version}"' or '"' in version or version in ("", "none"):
        raise OperationError("bad-request", f"If-Match: {match!r} is not one quoted version", next_step="send an ETag")
    return version


def _names_version(if_none_match: str | None, version: str) -> bool:
    """Return whether a list of entity tags names ``version``, compared weakly (RFC 9110, section 13.1.2)."""
    if if_none_match is None:
        return False
    tags = (tag.strip().removeprefix("W/") for tag in if_none_match.split(","))
    return any(tag in ("*", f'"{version}"') for tag in tags)


def _explain_text(explain: Explain) -> str:
    """Return compact ASCII JSON for one header line; the last asked peers are left out where it would be too long."""
    asked = explain.asked
    while True:
        document = msgspec.to_builtins(msgspec.structs.replace(explain, asked=asked))
        text = json.dumps(document, separators=(",", ":"))
        if len(text) <= EXPLAIN_SIZE_MAX_BYTES or not asked:
            return text
        asked = asked[: len(asked) * 3 // 4]


async def _in_time(answer: Awaitable[_T], *, timeout_s: float) -> _T:
    try:
        async with asyncio.timeout(timeout_s + OVERTIME_S):
            return await answer
    except TimeoutError as error:
        raise OperationError("outcome-unknown", f"no answer within {timeout_s:g} s", next_step="ask again") from error
