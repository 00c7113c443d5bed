"""``NAME|leader|random``: which local peer a command means."""

import random
import time
from collections.abc import Collection
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

from bootstrap.home import NetworkFolder
from node.cli.failures import CommandFailed, failed, not_found
from node.cli.options import Options
from node.cli.peers import ALIVE, LocalPeer, existing_network, find_local, local_peers, require_here, require_local
from node.cli.session import Session

_PAUSE_S: Final = 0.05


def resolve_target(options: Options, wanted: str, states: Collection[str]) -> LocalPeer:
    """Return the local peer that ``wanted`` means.

    Args:
        wanted: A name or start of an id, ``leader``, or ``random``.
        states: States that a random peer may be in.

    Raises:
        CommandFailed: There is none (exit 3), several (exit 2), it runs in another container (exit 5), or no peer
            says who leads (exit 1 or 4).
    """
    network = existing_network(options.network)
    if wanted == "random":
        return require_here(_random(network, states))
    if wanted != "leader" or find_local(local_peers(network), wanted) is not None:
        return require_here(require_local(network, wanted))
    return require_here(_leader(options, network))


def _random(network: NetworkFolder, states: Collection[str]) -> LocalPeer:
    peers = [peer for peer in local_peers(network) if peer.state in states]
    if not peers:
        raise not_found(
            f"no peer of {network.name!r} on this machine is {' or '.join(states)}",
            next_step="pair ps shows their states",
        )
    return random.SystemRandom().choice(peers)


def _leader(options: Options, network: NetworkFolder) -> LocalPeer:
    """Ask until a peer names a leader that lives: just after one died they may still name it, or none."""
    ends = time.monotonic() + options.deadline_s
    while True:
        leader = _asked(options, ends)
        peer = next((peer for peer in local_peers(network) if peer.id == leader.get("id")), None)
        if peer is not None and peer.state in ALIVE:
            return peer
        if leader.get("id") is not None and peer is None:
            raise not_found(
                f"the leader {leader.get('name')!r} does not live on this machine",
                next_step="use the command on its machine, or name a peer of this one: pair ps",
            )
        if time.monotonic() >= ends:
            raise failed("there is no leader just now", next_step="pair status shows what the peers wait for")
        time.sleep(_PAUSE_S)


def _asked(options: Options, ends: float) -> dict[str, Any]:
    left = replace(options, timeout_s=max(0.1, ends - time.monotonic()))
    try:
        with closing(Session(left, "read")) as session:
            document = session.request("GET", "/v1/leader").document()
    except CommandFailed as failure:
        if failure.type == "no-answer" and time.monotonic() < ends:
            return {}  # the asked peer died meanwhile: another one is asked
        raise
    return document if isinstance(document, dict) else {}
