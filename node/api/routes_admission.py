"""Who may come in, and who must stay out. The routes stand here too; ``node.api.routes`` collects them."""

from typing import Final

from aiohttp import web

from node.api.bodies import read_json
from node.api.context import Context
from node.api.responses import json_response
from node.api.routing import Call, Parameter, Route
from node.shapes import BanRow, InviteMade, InviteOrder, InviteRow


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


async def bans(context: Context, call: Call) -> web.StreamResponse:
    """List who is banned."""
    call.parameters()
    return json_response(context.service.bans.listing())


async def ban(context: Context, call: Call) -> web.StreamResponse:
    """Ban a peer."""
    call.parameters()
    return json_response(context.service.bans.ban(call.tail))


async def lift(context: Context, call: Call) -> web.StreamResponse:
    """Lift a ban."""
    call.parameters()
    return json_response(context.service.bans.lift(call.tail))


_BANNED: Final = Parameter(name="peer", place="path", summary="Name, id, or start of the id, of 6 digits or more.")

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
            "media-type-refused", "value-too-large", "request-timeout", "conflict", "quota-exceeded", "not-ready",
            "disk-full",
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
    Route(
        method="GET",
        path="/v1/bans",
        level="read",
        handler=bans,
        summary="List the peers that the admin banned from the network, as the asked peer knows them.",
        answer=list[BanRow],
    ),
    Route(
        method="PUT",
        path="/v1/bans/{peer}",
        level="admin",
        handler=ban,
        summary="Ban a peer: no member hears it any more. Signed with the admin's key, which the asked peer must have.",
        parameters=(_BANNED,),
        answer=BanRow,
        problems=("not-found", "conflict", "admin-key-missing", "quota-exceeded"),
    ),
    Route(
        method="DELETE",
        path="/v1/bans/{peer}",
        level="admin",
        handler=lift,
        summary="Lift a ban: the peer may join again.",
        parameters=(_BANNED,),
        answer=BanRow,
        problems=("not-found", "admin-key-missing"),
    ),
)  # fmt: skip
