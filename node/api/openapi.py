"""The OpenAPI 3.1 document, made of the table of routes and the structs that the API really sends and takes."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from node import __version__
from node.api.problems import PROBLEM_MEDIA_TYPE
from node.api.responses import JSON_MEDIA_TYPE
from node.api.routing import Route
from node.errors import PROBLEM_TYPES
from node.shapes import Explain, Problem

_NOT_IN_IDS: Final = re.compile(r"[^a-z0-9]+")
_REF_TEMPLATE: Final = "#/components/schemas/{name}"
_ALWAYS_POSSIBLE: Final = ("bad-request", "host-not-allowed", "encoding-refused", "too-many-requests", "internal")
_NEEDS_TOKEN: Final = ("token-missing", "token-unknown", "level-too-low")

_DESCRIPTION: Final = """Every peer serves this API, and each answer is the same whichever peer is asked.

Send `Authorization: Bearer TOKEN`; `x-level` says which token a route needs (none < read < member < admin).
Errors are problem documents (RFC 9457); `type` is one of these:

"""


def openapi_document(routes: Sequence[Route]) -> bytes:
    """Return the document for ``routes``, as JSON."""
    structs = [kind for route in routes for kind in (route.body, route.answer) if kind not in (None, bytes)]
    schemas, components = msgspec.json.schema_components([*structs, Problem, Explain], ref_template=_REF_TEMPLATE)
    schema_of = dict(zip(map(str, structs), schemas, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    table = "\n".join(f"- `{type}` ({status}): {title}" for type, (status, title) in PROBLEM_TYPES.items())
    document = {
        "openapi": "3.1.0",
        "info": {"title": "Pair", "version": __version__, "description": _DESCRIPTION + table},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    return msgspec.json.encode(document)


def _operation(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": _NOT_IN_IDS.sub("_", f"{route.method.lower()}{route.path}").strip("_"),
        "summary": route.summary,
        "tags": [route.tag],
        "x-level": route.level,
        "security": [] if route.level == "none" else [{"token": []}],
        "parameters": [
            {
                "name": parameter.name,
                "in": parameter.place,
                "description": parameter.summary,
                "required": parameter.place == "path",
                "schema": {"type": parameter.schema},
            }
            for parameter in route.parameters
        ],
        "responses": {**_problem_answers(route), **_answers(route, schema_of)},
    }
    if route.body is bytes:
        operation["requestBody"] = {"content": {"application/octet-stream": {}}}
    elif route.body is not None:
        operation["requestBody"] = {"content": {JSON_MEDIA_TYPE: {"schema": schema_of[str(route.body)]}}}
    return operation


def _answers(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    schema = {} if route.answer is bytes else {"schema": schema_of[str(route.answer)]}
    return {
        str(status): {"description": HTTPStatus(status).phrase}
        | ({} if status == 304 else {"content": {route.media_type: schema}})
        for status in route.statuses
    }


def _problem_answers(route: Route) -> dict[str, Any]:
    """Return one entry for each status, naming the problems behind it."""
    types = _ALWAYS_POSSIBLE + route.problems + (() if route.level == "none" else _NEEDS_TOKEN)
    by_status: dict[str, list[str]] = {}
    for type in dict.fromkeys(types):
        by_status.setdefault(str(PROBLEM_TYPES[type][0]), []).append(type)
    schema = {"$ref": _REF_TEMPLATE.format(name="Problem")}
    return {
        status: {
            "description": ", ".join(f"`{type}`" for type in by_status[status]),
            "content": {PROBLEM_MEDIA_TYPE: {"schema": schema}},
        }
        for status in sorted(by_status)
    }
