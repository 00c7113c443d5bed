"""Who may come in: the invites of the asked peer. Their routes stand here too; ``node.api.routes`` collects them."""

from typing import Final

from aiohttp import web

from node.api.bodies import read_json
from node.api.context import Context
from node.api.responses import json_response
from node.api.routing import Call, Parameter, Route
from node.shapes import InviteMade, InviteOrder, InviteRow


async def invite(context: Context, call: Call) -> web.StreamResponse:
    """Issue an invite."""
    call.parameters()
    order = await read_json(call.request, InviteOrder, default=InviteOrder(), limits=context.limits)
    made = context.service.invites.create(role=order.role, uses=order.uses, expires_s=order.expires_s)
    return json_response(made, status=201)


async def invites(context: Context, call: Call) -> web.StreamResponse:
    """List the invites that have not expired."""
    call.parameters()
    return json_response(context.service.invites.listing())


async def revoke(context: Context, call: Call) -> web.StreamResponse:
    """Let nobody in any more with one invite."""
    call.parameters()
    return json_response(context.service.invites.revoke(call.tail))


ADMISSION_ROUTES: Final = (
    Route(
        method="GET",
        path="/v1/invites",
        level="admin",
        handler=invites,
        summary="List the invites of the asked peer that have not expired; without their secrets.",
        answer=list[InviteRow],
    ),
    Route(
        method="POST",
        path="/v1/invites",
        level="admin",
        handler=invite,
        summary="Issue an invite: whoever has it can join the network, or read it, through the asked peer.",
        body=InviteOrder,
        answer=InviteMade,
        statuses=(201,),
        problems=(
            "media-type-refused", "value-too-large", "request-timeout", "quota-exceeded", "not-ready", "disk-full",
        ),
    ),
    Route(
        method="DELETE",
        path="/v1/invites/{id}",
        level="admin",
        handler=revoke,
        summary="Revoke an invite of the asked peer; one that is used up already stays so.",
        parameters=(Parameter(name="id", place="path", summary="Start of its id, as the list shows it."),),
        answer=InviteRow,
        problems=("not-found", "disk-full"),
    ),
)  # fmt: skip
