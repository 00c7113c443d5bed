"""Pages for a browser: they need no level, hold no data, and work offline."""

from aiohttp import web

from node.api.context import Context
from node.api.pages import read_page
from node.api.responses import JSON_MEDIA_TYPE, page_response
from node.api.routing import Call, Handler

HTML_MEDIA_TYPE = "text/html; charset=utf-8"
SCRIPT_MEDIA_TYPE = "text/javascript; charset=utf-8"
STYLE_MEDIA_TYPE = "text/css; charset=utf-8"


async def openapi(context: Context, call: Call) -> web.StreamResponse:
    """Return the OpenAPI document."""
    return page_response(context.openapi(), JSON_MEDIA_TYPE)


def page(name: str, media_type: str) -> Handler:
    """Return a handler that serves the file ``name`` of ``node/api/pages``."""
    body = read_page(name)

    async def serve(context: Context, call: Call) -> web.StreamResponse:
        return page_response(body, media_type)

    return serve
