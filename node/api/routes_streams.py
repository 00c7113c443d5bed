"""Event streams: changes of keys, and what happens to the peer and its network."""

import msgspec
from aiohttp import web

from node.api.context import Context
from node.api.event_stream import EVENT_STREAM_MEDIA_TYPE, sse_event
from node.api.responses import page_response
from node.api.routing import Call
from node.errors import OperationError
from node.service import PeerEvent, WatchedChange
from node.shapes import Change, text_of_value
from protocol.limits import KEY_SIZE_MAX_BYTES

CURSOR_SIZE_MAX = 512
"""Longest cursor that a client may send back, in characters."""


async def watch(context: Context, call: Call) -> web.StreamResponse:
    """Follow one key (``?key=``) or all below a prefix, from ``Last-Event-ID`` or ``?since=`` on."""
    parameters = call.parameters("key", "prefix", "since")
    exact = "key" in parameters
    if exact and "prefix" in parameters:
        raise OperationError("bad-request", "give either key or prefix")
    name = parameters["key"] if exact else parameters.get("prefix", "")
    if len(name.encode()) > KEY_SIZE_MAX_BYTES or (exact and not name):
        raise OperationError("key-invalid", f"a key has 1 to {KEY_SIZE_MAX_BYTES} bytes")
    # A reconnecting client repeats its first query, so what it saw last is the newer of the two.
    since = call.header("Last-Event-ID") or parameters.get("since") or None
    if since is not None and not (len(since) <= CURSOR_SIZE_MAX and since.isascii() and since.isprintable()):
        raise OperationError("bad-request", "that is no cursor of a watch", next_step="leave it out to watch from now")
    if call.request.method == "HEAD":
        return page_response(b"", EVENT_STREAM_MEDIA_TYPE)
    source = context.service.watch(name, exact=exact, since=since)
    return await context.streams.serve(call.request, source, _encode_change)


async def events(context: Context, call: Call) -> web.StreamResponse:
    """Follow members, leader and records as this peer sees them."""
    call.parameters()
    if call.request.method == "HEAD":
        return page_response(b"", EVENT_STREAM_MEDIA_TYPE)
    return await context.streams.serve(call.request, context.service.events(), _encode_event)


def _encode_change(change: WatchedChange) -> bytes:
    record = change.record
    if record.is_tombstone:
        body = Change(event="delete", key=record.key, value=None, encoding=None, version=record.version)
    else:
        value, encoding = text_of_value(record.value)
        body = Change(event="put", key=record.key, value=value, encoding=encoding, version=record.version)
    return sse_event(name=body.event, data=msgspec.json.encode(body), id=change.cursor)


def _encode_event(event: PeerEvent) -> bytes:
    return sse_event(name=event.kind, data=msgspec.json.encode(event.body))
