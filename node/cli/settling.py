"""Waiting until peers are one network: every table holds all, and all follow one leader; each says so itself."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from node.cli.asking import Circle
from node.cli.failures import CommandFailed, failed
from node.cli.interrupts import Interrupts
from node.cli.output import counted
from node.cli.peers import LocalPeer
from node.cli.waiting import StatusLine

_PAUSE_S: Final = 0.02
_PAUSE_MAX_S: Final = 0.1
_ANSWER_TIMEOUT_S: Final = 2.0
_CHUNK: Final = 8
"""Peers asked at once; while one of them is not there yet the others need no question."""


def settle(
    circle: Circle,
    look: Callable[[], Sequence[LocalPeer]],
    *,
    timeout_s: float,
    interrupts: Interrupts,
    line: StatusLine,
) -> None:
    """Return once every peer's table holds all of them alive and all follow one leader, or on an interrupt.

    Args:
        look: Returns the peers as their folders show them now.

    Raises:
        CommandFailed: One of them ended, or time is up; says what is missing.
    """
    ends = time.monotonic() + timeout_s
    peers = look()
    ids = {str(peer.id) for peer in peers}
    open_names = [peer.name for peer in peers]
    leaders: dict[str, str] = {}
    pause_s = _PAUSE_S
    while True:
        line.show(f"{len(peers) - len(open_names)} of {counted(len(peers), 'peer')} know all and follow a leader")
        chunk = open_names[:_CHUNK]
        documents = circle.ask("/v1/members", chunk, timeout_s=_ANSWER_TIMEOUT_S)
        found = {name: leader for name in chunk if (leader := _leader_if_whole(documents.get(name), ids)) is not None}
        leaders.update(found)
        open_names = [name for name in open_names if name not in found]
        if not open_names and len(set(leaders.values())) > 1:
            open_names = [peer.name for peer in peers]  # the leader changed meanwhile: everybody is asked again
            leaders.clear()
        if not open_names or interrupts.happened:
            return
        if len(found) == len(chunk):
            continue
        _check_living(look())
        if time.monotonic() >= ends:
            raise _not_settled(timeout_s, open_names[0], documents.get(open_names[0]), ids)
        interrupts.wait(pause_s)
        pause_s = min(_PAUSE_MAX_S, pause_s * 1.5)


def settled_statuses(
    circle: Circle, look: Callable[[], Sequence[LocalPeer]], *, timeout_s: float, interrupts: Interrupts
) -> dict[str, Any]:
    """Return the status of each peer once all say at the same time that they know all and follow one leader.

    After an interrupt the answers are returned as they are.

    Raises:
        CommandFailed: One of them ended, or time is up; says what is missing.
    """
    ends = time.monotonic() + timeout_s
    while True:
        peers = look()
        statuses = circle.ask("/v1/status", [peer.name for peer in peers], timeout_s=_ANSWER_TIMEOUT_S)
        missing = _missing_in([peer.name for peer in peers], statuses)
        if missing is None or interrupts.happened:
            return statuses
        _check_living(peers)
        if time.monotonic() >= ends:
            raise _no_whole_network(timeout_s, missing)
        interrupts.wait(_PAUSE_MAX_S)


def _missing_in(names: Sequence[str], statuses: Mapping[str, Any]) -> str | None:
    """Return what keeps the peers ``names`` from being one network by their statuses; None when nothing does."""
    for name in names:
        status = statuses.get(name)
        if status is None:
            return f"{name} does not answer"
        if status["members"]["alive"] < len(names):
            return f"{name} knows {status['members']['alive']} of {len(names)} peers"
        if status["leader"] is None or status["leader"] != statuses[names[0]]["leader"]:
            return f"{name} follows no leader, or not the others' one"
    return None


def _leader_if_whole(table: Any, ids: set[str]) -> str | None:
    """Return the id of the leader in a member table that holds all ``ids`` alive; None otherwise."""
    if not isinstance(table, list):
        return None
    if not ids <= {row["id"] for row in table if row["state"] == "alive"}:
        return None
    return next((str(row["id"]) for row in table if row["role"] == "leader"), None)


def _check_living(peers: Sequence[LocalPeer]) -> None:
    for peer in peers:
        if peer.state in ("crashed", "stopped"):
            raise failed(
                f"{peer.name} ended while the network was forming",
                next_step=f"its log may say why: {peer.folder.path / 'peer.log'}",
            )


def _not_settled(timeout_s: float, name: str, table: Any, ids: set[str]) -> CommandFailed:
    rows: Sequence[Mapping[str, Any]] = table if isinstance(table, list) else []
    alive = sum(1 for row in rows if row["state"] == "alive" and row["id"] in ids)
    if not rows:
        what = f"{name} does not answer"
    elif alive < len(ids):
        what = f"{name} knows {alive} of {len(ids)} peers"
    else:
        what = f"{name} follows no leader, or not the others' one"
    return _no_whole_network(timeout_s, what)


def _no_whole_network(timeout_s: float, missing: str) -> CommandFailed:
    return failed(
        f"the peers run, but are no whole network after {timeout_s:g} s: {missing}",
        next_step="pair members and pair doctor show more; pair up again goes on waiting",
    )
