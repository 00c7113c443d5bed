"""How many files and connections this process may have open, and who gets how many of them.

A peer without a descriptor left can neither answer nor store, so the caps of all that others can open stay together
below the limit of the process: whoever opens too many meets a cap, and the peer goes on.
"""

import dataclasses
import resource
from dataclasses import dataclass
from typing import Final

from node.api.limits import ApiLimits
from node.peer_limits import PeerPortLimits
from protocol.errors import ConfigError

USUAL_MAX: Final = 1024
"""The usual limit of a process; what peers are planned for."""

LEAST_MAX: Final = 128
"""With fewer a peer cannot work."""

_RAISED_MAX: Final = 8192
"""More is never needed, and some systems slow down with it."""

_OWN: Final = 80
"""Descriptors for this peer's own files, and for the connections that it opens itself."""

_BACKLOG_SHARE: Final = 8
"""Connections that wait to be accepted may all be accepted in one turn of the loop, before any is turned away."""


@dataclass(frozen=True, slots=True)
class Caps:
    """What others may open."""

    api: ApiLimits
    peer_port: PeerPortLimits


def raise_limit() -> int:
    """Raise the limit of this process to what it may have; return it.

    Raises:
        ConfigError: It is too low for a peer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _RAISED_MAX if hard == resource.RLIM_INFINITY else min(hard, _RAISED_MAX)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    limit = _RAISED_MAX if soft == resource.RLIM_INFINITY else soft
    if limit < LEAST_MAX:
        raise ConfigError(
            f"this process may open only {limit} files and connections", next_step=f"ulimit -n {USUAL_MAX}, then again"
        )
    return limit


def caps_within(limit: int) -> Caps:
    """Return caps that stay together below ``limit``; the defaults where they fit."""
    left = max(limit, LEAST_MAX) - _OWN
    backlog = max(16, left // _BACKLOG_SHARE)
    left -= backlog
    api, peer_port = ApiLimits(), PeerPortLimits()
    connections = min(api.connections_max, left * 3 // 8)
    strangers = min(peer_port.strangers, left // 8)
    requests = min(peer_port.request_connections, left // 4)
    return Caps(
        api=dataclasses.replace(
            api,
            connections_max=connections,
            connections_per_address_max=min(api.connections_per_address_max, connections),
            streams_max=min(api.streams_max, max(1, connections // 2)),
            backlog=min(api.backlog, backlog),
        ),
        peer_port=dataclasses.replace(
            peer_port,
            strangers=strangers,
            strangers_per_host=min(peer_port.strangers_per_host, strangers),
            request_connections=requests,
            request_connections_per_peer=min(peer_port.request_connections_per_peer, requests),
            links_max=left - connections - strangers - requests,
            backlog=min(peer_port.backlog, backlog),
        ),
    )
