"""What the asked peer knows: health, status, members, leader; and the order to hand over."""

from aiohttp import web

from node.api.bodies import read_json
from node.api.context import Context
from node.api.metrics import METRICS_MEDIA_TYPE
from node.api.responses import json_response, page_response
from node.api.routing import Call
from node.shapes import HandoverOrder


async def health(context: Context, call: Call) -> web.StreamResponse:
    """Say whether the peer has joined; 503 until then."""
    call.parameters()
    document = context.service.health()
    return json_response(document, status=200 if document.ready else 503)


async def status(context: Context, call: Call) -> web.StreamResponse:
    """Return the peer's view of itself."""
    call.parameters()
    return json_response(context.service.status())


async def members(context: Context, call: Call) -> web.StreamResponse:
    """Return the peer's member table."""
    call.parameters()
    return json_response(context.service.members())


async def leader(context: Context, call: Call) -> web.StreamResponse:
    """Return the leader that the peer follows; all null when there is none."""
    call.parameters()
    return json_response(context.service.leader())


async def hand_over(context: Context, call: Call) -> web.StreamResponse:
    """Ask the leader to hand over, and return the new one."""
    call.parameters()
    timeout_s = call.timeout_s
    order = await read_json(call.request, HandoverOrder, default=HandoverOrder(), limits=context.limits)
    return json_response(
        await context.writes.run(lambda: context.service.hand_over(order.to), timeout_s=timeout_s)
    )


async def metrics(context: Context, call: Call) -> web.StreamResponse:
    """Return the metrics of this peer."""
    call.parameters()
    return page_response(context.metrics.render(), METRICS_MEDIA_TYPE)
