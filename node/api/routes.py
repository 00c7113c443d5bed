"""The table of routes: what there is, who may use it, and what its documentation says (DESIGN section 9)."""

from typing import Any, Final

from node.api import routes_faults, routes_kv, routes_pages, routes_state, routes_streams
from node.api.event_stream import EVENT_STREAM_MEDIA_TYPE
from node.api.metrics import METRICS_MEDIA_TYPE
from node.api.routes_admission import ADMISSION_ROUTES
from node.api.routing import Parameter, Route
from node.shapes import (
    Change,
    Fault,
    FaultOrder,
    HandoverOrder,
    Health,
    KeyEntry,
    Leader,
    Member,
    Status,
    WriteReceipt,
)

_KEY_IN_PATH: Final = Parameter(
    name="key",
    place="path",
    summary="One percent-encoded segment, decoded exactly once; a literal `/` is part of the key.",
)
_KEY_IN_QUERY: Final = Parameter(name="key", place="query", summary="Any key, 1 to 512 bytes of UTF-8.")
_PREFIX: Final = Parameter(name="prefix", place="query", summary="Start of the keys that are meant; empty for all.")
_CONSISTENCY: Final = Parameter(
    name="consistency", place="query", summary="`quorum`: ask a majority of the holders; fresh even during faults."
)
_TIMEOUT: Final = Parameter(
    name="Pair-Timeout",
    place="header",
    summary="Seconds that the peer may take, up to 60; 10 by default.",
    schema="number",
)
_EXPLAIN: Final = Parameter(
    name="Pair-Explain", place="header", summary="`1`: the response says in `Pair-Explain` who was asked and answered."
)
_TTL: Final = Parameter(
    name="Pair-TTL", place="header", summary="Seconds after which the value is gone; never without it.", schema="number"
)
_IF_MATCH: Final = Parameter(
    name="If-Match", place="header", summary="One quoted version: go on only if it is the stored one."
)
_IF_ABSENT: Final = Parameter(name="If-None-Match", place="header", summary="`*`: go on only if the key is absent.")
_IF_CHANGED: Final = Parameter(name="If-None-Match", place="header", summary="Versions for which 304 will do.")

_WRITE_PROBLEMS: Final = (
    "key-invalid",
    "version-mismatch",
    "quota-exceeded",
    "not-ready",
    "not-enough-holders",
    "outcome-unknown",
    "disk-full",
)
_PUT_PROBLEMS: Final = (*_WRITE_PROBLEMS, "value-too-large", "request-timeout")
_READ_PROBLEMS: Final = ("key-invalid", "not-found", "not-ready", "not-enough-holders", "outcome-unknown")
_PUT_HEADERS: Final = (_TTL, _IF_MATCH, _IF_ABSENT, _TIMEOUT, _EXPLAIN)
_DELETE_HEADERS: Final = (_IF_MATCH, _IF_ABSENT, _TIMEOUT, _EXPLAIN)

_STATE_ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/health",
        level="none",
        handler=routes_state.health,
        summary="Whether the peer has joined; status 503 until then.",
        answer=Health,
        statuses=(200, 503),
    ),
    Route(
        method="GET",
        path="/v1/status",
        level="read",
        handler=routes_state.status,
        summary="The asked peer's view of itself.",
        answer=Status,
    ),
    Route(
        method="GET",
        path="/v1/members",
        level="read",
        handler=routes_state.members,
        summary="The asked peer's member table.",
        answer=list[Member],
    ),
    Route(
        method="GET",
        path="/v1/leader",
        level="read",
        handler=routes_state.leader,
        summary="The leader that the asked peer follows; all null when there is none.",
        answer=Leader,
    ),
    Route(
        method="POST",
        path="/v1/leader/handover",
        level="admin",
        handler=routes_state.hand_over,
        summary="Ask the leader to hand over; returns the new leader.",
        parameters=(_TIMEOUT,),
        body=HandoverOrder,
        answer=Leader,
        problems=("no-leader", "not-found", "conflict", "outcome-unknown", "media-type-refused", "value-too-large"),
    ),
    Route(
        method="GET",
        path="/metrics",
        level="read",
        handler=routes_state.metrics,
        summary="Metrics in the Prometheus text format.",
        media_type=METRICS_MEDIA_TYPE,
    ),
)

_KV_ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/kv",
        level="read",
        handler=routes_kv.get_or_list,
        summary="List the keys below a prefix (`Pair-Complete`: whether every member answered), or read one `key`.",
        parameters=(_PREFIX, _KEY_IN_QUERY, _CONSISTENCY, _IF_CHANGED, _TIMEOUT, _EXPLAIN),
        answer=list[KeyEntry],
        problems=_READ_PROBLEMS,
    ),
    Route(
        method="PUT",
        path="/v1/kv",
        level="member",
        handler=routes_kv.put,
        summary="Write the body under any key.",
        parameters=(_KEY_IN_QUERY, *_PUT_HEADERS),
        body=bytes,
        answer=WriteReceipt,
        problems=_PUT_PROBLEMS,
    ),
    Route(
        method="DELETE",
        path="/v1/kv",
        level="member",
        handler=routes_kv.delete,
        summary="Delete any key.",
        parameters=(_KEY_IN_QUERY, *_DELETE_HEADERS),
        answer=WriteReceipt,
        problems=_WRITE_PROBLEMS,
    ),
    Route(
        method="GET",
        path="/v1/kv/{key}",
        level="read",
        handler=routes_kv.get,
        summary="Read a key: the exact bytes, with the version as `ETag`, `Pair-Writer` and `Pair-Expires`.",
        parameters=(_KEY_IN_PATH, _CONSISTENCY, _IF_CHANGED, _TIMEOUT, _EXPLAIN),
        media_type=routes_kv.VALUE_MEDIA_TYPE,
        statuses=(200, 304),
        problems=_READ_PROBLEMS,
    ),
    Route(
        method="PUT",
        path="/v1/kv/{key}",
        level="member",
        handler=routes_kv.put,
        summary="Write the body, up to 1 MiB, under a key.",
        parameters=(_KEY_IN_PATH, *_PUT_HEADERS),
        body=bytes,
        answer=WriteReceipt,
        problems=_PUT_PROBLEMS,
    ),
    Route(
        method="DELETE",
        path="/v1/kv/{key}",
        level="member",
        handler=routes_kv.delete,
        summary="Delete a key; an absent one is no error.",
        parameters=(_KEY_IN_PATH, *_DELETE_HEADERS),
        answer=WriteReceipt,
        problems=_WRITE_PROBLEMS,
    ),
)

_STREAM_ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/kv-watch",
        level="read",
        handler=routes_streams.watch,
        summary="Follow a key or a prefix as server-sent events `put` and `delete`, at least once each.",
        parameters=(
            _PREFIX,
            _KEY_IN_QUERY,
            Parameter(name="since", place="query", summary="Id of the last event seen; any peer resumes after it."),
            Parameter(name="Last-Event-ID", place="header", summary="The same, as browsers send it; it wins."),
        ),
        answer=Change,
        media_type=EVENT_STREAM_MEDIA_TYPE,
        problems=("key-invalid", "too-many-requests"),
        is_stream=True,
    ),
    Route(
        method="GET",
        path="/v1/events",
        level="read",
        handler=routes_streams.events,
        summary="Follow members, leader, records and alarms as server-sent events.",
        media_type=EVENT_STREAM_MEDIA_TYPE,
        problems=("too-many-requests",),
        is_stream=True,
    ),
)

_FAULT_PROBLEMS: Final = ("faults-disabled", "loopback-only")
_FAULT_ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/faults",
        level="admin",
        handler=routes_faults.active,
        summary="List the active faults of this peer; only with `--faults`, and only for its own machine.",
        answer=list[Fault],
        problems=_FAULT_PROBLEMS,
    ),
    Route(
        method="POST",
        path="/v1/faults",
        level="admin",
        handler=routes_faults.add,
        summary="Begin a fault between this peer and others; it ends by itself.",
        body=FaultOrder,
        answer=Fault,
        problems=(*_FAULT_PROBLEMS, "media-type-refused", "value-too-large", "request-timeout", "quota-exceeded"),
    ),
    Route(
        method="DELETE",
        path="/v1/faults",
        level="admin",
        handler=routes_faults.clear,
        summary="End one fault, or all without an `id`; returns what was ended.",
        parameters=(Parameter(name="id", place="query", summary="Id of the fault to end."),),
        answer=list[Fault],
        problems=(*_FAULT_PROBLEMS, "not-found"),
    ),
)


def _page(path: str, name: str, media_type: str, summary: str) -> Route:
    handler = routes_pages.page(name, media_type)
    return Route(method="GET", path=path, level="none", handler=handler, summary=summary, media_type=media_type)


_PAGE_ROUTES: Final = (
    Route(
        method="GET",
        path="/openapi.json",
        level="none",
        handler=routes_pages.openapi,
        summary="This document.",
        answer=dict[str, Any],
    ),
    _page("/", "home.html", routes_pages.HTML_MEDIA_TYPE, "What this is."),
    _page("/docs", "docs.html", routes_pages.HTML_MEDIA_TYPE, "This document as a page; works offline."),
    _page("/docs.js", "docs.js", routes_pages.SCRIPT_MEDIA_TYPE, "Script of the page."),
    _page("/pages.css", "pages.css", routes_pages.STYLE_MEDIA_TYPE, "Style of the pages."),
    _page("/favicon.svg", "favicon.svg", "image/svg+xml", "Icon of the pages."),
)

ROUTES: Final[tuple[Route, ...]] = (
    *_STATE_ROUTES, *_KV_ROUTES, *_STREAM_ROUTES, *ADMISSION_ROUTES, *_FAULT_ROUTES, *_PAGE_ROUTES,
)  # fmt: skip
