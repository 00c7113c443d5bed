"""The OpenAPI document: sound, complete, and true to what the API sends."""

import json
import re
from typing import Any, Literal

import msgspec
import pytest

from node.api.openapi import openapi_document
from node.api.routes import ROUTES
from node.errors import PROBLEM_TYPES
from tests.node.api.fake_peer import call, open_api


class _Parameter(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    place: Literal["path", "query", "header"] = msgspec.field(name="in")
    description: str
    required: bool
    schema: dict[str, Any]


class _Content(msgspec.Struct, forbid_unknown_fields=True):
    schema: dict[str, Any] | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    content: dict[str, _Content]


class _Response(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    content: dict[str, _Content] | None = None


class _Operation(msgspec.Struct, forbid_unknown_fields=True):
    operation_id: str = msgspec.field(name="operationId")
    summary: str
    tags: list[str]
    level: Literal["none", "read", "member", "admin"] = msgspec.field(name="x-level")
    security: list[dict[str, list[str]]]
    parameters: list[_Parameter]
    responses: dict[str, _Response]
    body: _Body | None = msgspec.field(name="requestBody", default=None)


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    """The part of OpenAPI 3.1 that we use: what is misspelled or misplaced does not fit."""

    openapi: Literal["3.1.0"]
    info: dict[str, str]
    servers: list[dict[str, str]]
    paths: dict[str, dict[Literal["get", "put", "post", "delete"], _Operation]]
    components: dict[Literal["schemas", "securitySchemes"], dict[str, dict[str, Any]]]


def _document() -> _Document:
    return msgspec.json.decode(openapi_document(ROUTES), type=_Document)


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        inner = [reference for value in part.values() for reference in _references(value)]
        return [*inner, part["$ref"]] if "$ref" in part else inner
    return [reference for value in part for reference in _references(value)] if isinstance(part, list) else []


def test_each_route_is_documented() -> None:
    """One operation for each route of the table, and none beside."""
    documented = {
        (method.upper(), path): operation
        for path, methods in _document().paths.items()
        for method, operation in methods.items()
    }

    assert set(documented) == {(route.method, route.path) for route in ROUTES}
    for route in ROUTES:
        operation = documented[route.method, route.path]
        assert operation.level == route.level
        assert operation.summary.endswith(".")
        assert {str(status) for status in route.statuses} <= set(operation.responses)
        assert ("401" in operation.responses) == (route.level != "none")
        assert operation.security == ([] if route.level == "none" else [{"token": []}])


def test_names_are_unique_and_path_parameters_declared() -> None:
    """What generators of clients rely on."""
    document = _document()
    operations = [(path, one) for path, methods in document.paths.items() for one in methods.values()]
    names = [operation.operation_id for _, operation in operations]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in names)
    for path, operation in operations:
        in_path = {one.name for one in operation.parameters if one.place == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path))
        assert all(one.required == (one.place == "path") for one in operation.parameters)


def test_each_reference_leads_somewhere() -> None:
    """Nothing points outside of the document: it works offline."""
    document = json.loads(openapi_document(ROUTES))
    references = _references(document)

    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]


def test_each_problem_is_listed() -> None:
    """A person who meets a type finds it on the page."""
    description = _document().info["description"]

    assert all(f"`{type}` ({status})" in description for type, (status, _) in PROBLEM_TYPES.items())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_document_is_served(method: str) -> None:
    """``/openapi.json`` needs no token."""
    async with open_api() as server:
        answer = await call(server, method, "/openapi.json", token=None)

    expected = openapi_document(ROUTES)
    assert answer.headers["content-length"] == str(len(expected))
    assert answer.body == (expected if method == "GET" else b"")
