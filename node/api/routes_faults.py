"""Faults on purpose: only in a peer started with ``--faults``, for the admin, from the peer's own machine."""

import ipaddress

from aiohttp import web

from node.api.bodies import read_json
from node.api.context import Context
from node.api.responses import json_response
from node.api.routing import Call
from node.errors import OperationError
from node.faults.plane import FaultPlane
from node.shapes import FaultOrder


async def active(context: Context, call: Call) -> web.StreamResponse:
    """Return the active faults."""
    plane = _plane(context, call)
    call.parameters()
    return json_response(plane.active())


async def add(context: Context, call: Call) -> web.StreamResponse:
    """Begin a fault and return it."""
    plane = _plane(context, call)
    call.parameters()
    return json_response(plane.add(await read_json(call.request, FaultOrder, limits=context.limits)))


async def clear(context: Context, call: Call) -> web.StreamResponse:
    """End one fault or all, and return what was ended."""
    plane = _plane(context, call)
    return json_response(plane.clear(call.parameters("id").get("id")))


def _plane(context: Context, call: Call) -> FaultPlane:
    if context.faults is None:
        raise OperationError(
            "faults-disabled",
            "this peer was started without --faults",
            next_step="stop it, then start it again with --faults: pair down, pair up N --faults",
        )
    address = call.request.transport.get_extra_info("peername") if call.request.transport is not None else None
    if not address or not is_loopback(str(address[0])):
        raise OperationError(
            "loopback-only", "faults are made from the peer's own machine only", next_step="use pair fault there"
        )
    return context.faults


def is_loopback(host: str) -> bool:
    """Return whether ``host``, as a socket names the other end, is this machine; IPv4 in IPv6 counts as what it is."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback
