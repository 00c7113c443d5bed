"""Every error as a problem document (RFC 9457, ``application/problem+json``).

``type`` is the bare slug of ``node.errors.PROBLEM_TYPES``; as a URI reference it is relative, and the OpenAPI page
lists all of them. ``next_step`` says what to do; ``version-mismatch`` adds ``current_version``.
"""

import msgspec
from aiohttp import web

from node.api.responses import new_headers
from node.errors import PROBLEM_TYPES, OperationError
from node.shapes import Problem

PROBLEM_MEDIA_TYPE = "application/problem+json"


def problem_of(error: OperationError) -> Problem:
    """Return the document that tells a client of ``error``."""
    status, title = PROBLEM_TYPES[error.type]
    return Problem(
        type=error.type,
        title=title,
        status=status,
        detail=error.detail,
        next_step=error.next_step,
        current_version=error.current_version,
    )


def problem_body(error: OperationError) -> bytes:
    """Return the JSON of the document for ``error``."""
    return msgspec.json.encode(problem_of(error))


def problem_response(error: OperationError) -> web.Response:
    """Return the response for ``error``; those that leave a body unread close the connection."""
    headers = new_headers(PROBLEM_MEDIA_TYPE)
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="pair"'
    if error.status == 429:
        headers["Retry-After"] = "1"
    response = web.Response(status=error.status, body=problem_body(error), headers=headers)
    if error.type in ("request-timeout", "value-too-large"):
        response.force_close()
    return response
