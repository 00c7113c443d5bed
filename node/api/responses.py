"""Successful answers and the headers that every answer carries."""

from typing import Any, Final

import msgspec
from aiohttp import web
from multidict import CIMultiDict, istr

JSON_MEDIA_TYPE: Final = "application/json"

_ALWAYS: Final = (
    # One policy for data and pages alike: scripts and styles only from files of ours, nothing framed, nothing sent.
    (
        istr("Content-Security-Policy"),
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (istr("X-Content-Type-Options"), "nosniff"),
    (istr("Referrer-Policy"), "no-referrer"),
    (istr("Cross-Origin-Resource-Policy"), "same-origin"),
    (istr("Cache-Control"), "no-store"),
    (istr("Server"), "pair"),
)
_CONTENT_TYPE: Final = istr("Content-Type")


def new_headers(media_type: str) -> CIMultiDict[str]:
    """Return the headers that every answer carries; the caller owns and may extend them."""
    headers: CIMultiDict[str] = CIMultiDict(_ALWAYS)
    headers[_CONTENT_TYPE] = media_type
    return headers


def json_response(document: Any, *, status: int = 200) -> web.Response:
    """Return ``document`` (a struct of ``node.shapes``, or a list of them) as JSON."""
    return web.Response(status=status, body=msgspec.json.encode(document), headers=new_headers(JSON_MEDIA_TYPE))


def page_response(body: bytes, media_type: str) -> web.Response:
    """Return a static page or one of its files."""
    return web.Response(body=body, headers=new_headers(media_type))
