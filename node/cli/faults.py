"""``fault add list clear``: what flows between running peers is cut, lost, delayed, doubled and reordered by hand.

Each peer has faults of its own; a peer that was started without ``--faults`` has none, and refuses (exit 5).
"""

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Final

import click

from node.cli.failures import CommandFailed, not_found, wrong_use
from node.cli.fault_orders import KnownPeers, cuts_of_partition, described, listed
from node.cli.options import Options, PairCommand, PairGroup, Seconds, pass_options
from node.cli.output import counted, escape, print_json, print_line, print_table
from node.cli.peers import local_peers, network_of, nobody_runs
from node.cli.session import Session

_ALL: Final = "all"
_PARTITION: Final = "partition"
_TAKEN: Final[dict[str, tuple[str, ...]]] = {
    "cut": (),
    "loss": ("probability",),
    "delay": ("ms", "jitter_ms"),
    "duplicate": ("probability",),
    "reorder": ("probability",),
    _PARTITION: (),
}
"""Options that say how bad a fault of each kind is; the first is needed."""

_DELAY_MAX_MS: Final = 60_000
_DISABLED: Final = "faults-disabled"
_COLUMNS: Final = ("on", "id", "kind", "direction", "with", "how", "ends in")
_SECONDS_MAX: Final = 3600.0

Row = dict[str, Any]
"""A fault as the peer tells it, and the name of that peer as ``on``."""

_on_option = click.option(
    "--on", "on", multiple=True, metavar="PEER|all", help="Whose faults: peers of this machine, or all of them."
)


@click.group(cls=PairGroup)
def fault() -> None:
    """Break what flows between peers, on purpose; only peers started with --faults can be broken."""


@fault.command(cls=PairCommand)
@click.argument("kind", type=click.Choice(list(_TAKEN)))
@click.argument("groups", nargs=-1, metavar="[GROUP]...")
@click.option("--to", multiple=True, metavar="PEER", help="Between it and whom; without it everybody.")
@click.option("--direction", type=click.Choice(["in", "out", "both"]), help="As the broken peer sees it (both).")
@click.option(
    "--probability",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="P",
    help="Share that is hit, up to 1: of loss, duplicate and reorder.",
)
@click.option("--ms", type=click.FloatRange(0, _DELAY_MAX_MS, min_open=True), metavar="N", help="Delay, one way.")
@click.option("--jitter-ms", type=click.FloatRange(0, _DELAY_MAX_MS), metavar="N", help="Mean of a delay on top.")
@click.option("--seconds", type=Seconds(maximum_s=_SECONDS_MAX), default=60.0, metavar="S", help="How long (60).")
@_on_option
@pass_options
def add(
    options: Options,
    /,
    kind: str,
    groups: tuple[str, ...],
    to: tuple[str, ...],
    direction: str | None,
    seconds: float,
    on: tuple[str, ...],
    **how: float | None,
) -> None:
    """Begin a fault; it ends by itself.

    \b
    pair fault add cut --to peer-2                  the asked peer hears and reaches peer-2 no more
    pair fault add loss --probability 0.2 --on all  every peer here loses a fifth of all datagrams
    pair fault add delay --ms 50 --jitter-ms 10     slow links
    pair fault add partition peer-1,peer-2          these two on one side, all others on the other
    """
    order: Row = {"kind": kind, "seconds": seconds, **_checked(kind, how)}
    if kind == _PARTITION:
        if to or on or direction or not groups:
            raise wrong_use(
                "a partition takes groups of peers, and --seconds", next_step="pair fault add partition peer-1,peer-2"
            )
        _partition(options, groups, seconds)
        return
    if groups:
        raise wrong_use(f"{groups[0]!r} is too much", next_step="name peers with --to and --on")
    if direction is not None:
        order["direction"] = direction
    targets = _targets(options, on) or _running(options)[:1]
    known = _known(options, targets[0])
    rows = _post(options, _orders(order, targets, known.ids_of(to) if to else None, known))
    _print(options, rows, known)


@fault.command("list", cls=PairCommand)
@_on_option
@pass_options
def list_(options: Options, /, on: tuple[str, ...]) -> None:
    """List the active faults, of all peers here unless --on names some."""
    rows, asked = _everywhere(options, on, "GET", "/v1/faults")
    _print(options, rows, _known(options, asked[0]))


@fault.command(cls=PairCommand)
@click.argument("id", required=False)
@_on_option
@pass_options
def clear(options: Options, /, id: str | None, on: tuple[str, ...]) -> None:
    """End one fault, or all; of all peers here unless --on names some."""
    if id is not None and not id.isalnum():
        raise wrong_use(f"{id!r} cannot be the id of a fault", next_step="pair fault list shows them")
    rows, asked = _everywhere(options, on, "DELETE", "/v1/faults" + (f"?id={id}" if id is not None else ""))
    if id is not None and not rows:
        raise not_found(f"no fault {id!r} is active", next_step="pair fault list shows what is")
    if options.as_json:
        print_json(rows)
    else:
        print_line(f"{counted(len(rows), 'fault')} cleared on {counted(len(asked), 'peer')}")


def _checked(kind: str, how: Mapping[str, float | None]) -> Row:
    """Return what is given of how bad a fault is; raises ``CommandFailed`` unless it is what the kind takes."""
    given: Row = {name: value for name, value in how.items() if value is not None}
    for name in given:
        if name not in _TAKEN[kind]:
            raise wrong_use(f"--{name.replace('_', '-')} means nothing for {kind}", next_step="pair fault add --help")
    for needed in _TAKEN[kind][:1]:
        if needed not in given:
            raise wrong_use(f"{kind} needs --{needed}", next_step="pair fault add --help")
    return given


def _orders(order: Row, targets: Sequence[str], wanted: Sequence[str] | None, known: KnownPeers) -> dict[str, Row]:
    """Return what to ask of each target; None for everybody. Nobody is cut off from itself."""
    if wanted is None:
        return dict.fromkeys(targets, order)
    orders = {}
    for name in targets:
        if others := [id for id in wanted if id != known.here.get(name)]:
            orders[name] = {**order, "peers": others}
    if not orders:
        raise wrong_use("a peer has no fault with itself alone", next_step="name others with --to")
    return orders


def _partition(options: Options, groups: Sequence[str], seconds: float) -> None:
    """Cut the groups from each other, at every peer here that can be broken: one end of a cut is enough."""
    names = _running(options)
    known = _known(options, names[0])
    sides = [known.ids_of([group]) for group in groups]
    cuts = cuts_of_partition(sides, list(known.names))
    orders = {
        name: {"kind": "cut", "seconds": seconds, "peers": cuts[id]}
        for name in names
        if (id := known.here.get(name)) is not None and cuts.get(id)
    }

    def is_cut_without(refusing: Sequence[str]) -> bool:
        ids = [known.here[name] for name in refusing]
        return not any(other in cuts[id] for id in ids for other in ids)

    rows = _post(options, orders, is_done_without=is_cut_without)
    if options.as_json:
        print_json(rows)
        return
    for side in sides:
        print_line(f"cut off: {escape(listed([known.name_of(id) for id in side], at_most=12))}")
    print_line(f"for {seconds:g} s, at {counted(len(rows), 'peer')}; pair fault clear ends it sooner")


def _post(
    options: Options,
    orders: Mapping[str, Row],
    *,
    is_done_without: Callable[[Sequence[str]], bool] = lambda refusing: False,
) -> list[Row]:
    """Begin a fault at each peer; when one does not do it, those begun before are ended again.

    Args:
        is_done_without: Returns whether it matters not that these peers were started without ``--faults``.
    """
    rows: list[Row] = []
    refusing: list[str] = []
    try:
        for name, order in orders.items():
            with closing(_session(options, name)) as session:
                try:
                    rows.append(_asked(session, name, "POST", "/v1/faults", order))
                except CommandFailed as failure:
                    refusing.append(name)
                    is_last = not rows and len(refusing) == len(orders)
                    if failure.type != _DISABLED or is_last or not is_done_without(refusing):
                        raise
    except CommandFailed:
        for row in rows:
            with contextlib.suppress(CommandFailed), closing(_session(options, row["on"])) as session:
                _asked(session, row["on"], "DELETE", f"/v1/faults?id={row['id']}")
        raise
    return rows


def _everywhere(options: Options, on: Sequence[str], method: str, path: str) -> tuple[list[Row], list[str]]:
    """Ask each of the chosen peers; return their faults, and who answered.

    Without a choice all peers here are asked, and those that cannot be broken, or have no such fault, are left out.
    """
    chosen = _targets(options, on)
    rows: list[Row] = []
    asked: list[str] = []
    refusal: CommandFailed | None = None
    for name in chosen or _running(options):
        with closing(_session(options, name)) as session:
            try:
                rows += _asked(session, name, method, path)
            except CommandFailed as failure:
                if failure.type == _DISABLED and not chosen:
                    refusal = failure
                    continue
                if failure.type != "not-found":
                    raise
        asked.append(name)
    if not asked and refusal is not None:
        raise refusal
    return rows, asked


def _session(options: Options, name: str) -> Session:
    """Return a session with one peer; raises ``CommandFailed`` when there is none of that name."""
    return Session(replace(options, peer=name, explain=False), "admin")


def _asked(session: Session, name: str, method: str, path: str, order: Mapping[str, Any] | None = None) -> Any:
    """Return what one peer answers, with its name in each fault.

    Raises:
        CommandFailed: It refused, or did not answer; the cause names it.
    """
    body = json.dumps(order).encode() if order is not None else None
    headers = {} if body is None else {"Content-Type": "application/json", "Content-Length": str(len(body))}
    try:
        document = session.request(method, path, headers=headers, body=body).document()
    except CommandFailed as failure:
        failure.detail = f"{name}: {failure.detail}"
        raise
    if isinstance(document, list):
        return [{"on": name, **row} for row in document]
    return {"on": name, **document}


def _targets(options: Options, on: Sequence[str]) -> list[str]:
    """Return the peers that --on or --peer choose; none when neither is given."""
    names = [word for text in on for word in text.split(",") if word]
    if _ALL in names:
        return _running(options)
    return names or ([options.peer] if options.peer is not None else [])


def _running(options: Options) -> list[str]:
    """Return the names of the running peers of this machine."""
    network = network_of(options.network)
    names = [peer.name for peer in local_peers(network) if peer.state == "running"]
    if not names:
        raise nobody_runs(network)
    return names


def _known(options: Options, name: str) -> KnownPeers:
    """Return whom names may mean, as one peer tells."""
    with closing(_session(options, name)) as session:
        rows = session.request("GET", "/v1/members").document()
    here = {peer.name: peer.id for peer in local_peers(network_of(options.network)) if peer.id is not None}
    return KnownPeers(names={str(row["id"]): str(row["name"]) for row in rows}, here=here)


def _print(options: Options, rows: list[Row], known: KnownPeers) -> None:
    if options.as_json:
        print_json(rows)
    elif not rows:
        print_line("no fault is active")
    else:
        print_table(_COLUMNS, [described(row, known) for row in rows])
