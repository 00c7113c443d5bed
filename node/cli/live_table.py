"""The table of ``up``: once for a pipe, live on a terminal, with the commands to try next below it."""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bootstrap.home import NetworkFolder
from node.cli.asking import Circle
from node.cli.interrupts import Interrupts
from node.cli.output import escape, is_terminal, print_line, print_note, print_table
from node.cli.peers import ALIVE, DEFAULT_NETWORK, LocalPeer

if TYPE_CHECKING:
    from rich.console import RenderableType

Look = Callable[[], Sequence[LocalPeer]]

COLUMNS: Final = ("name", "address", "state", "role", "term", "keys")

_PERIOD_S: Final = 1.0
_ANSWER_TIMEOUT_S: Final = 0.5
_LINES_AROUND: Final = 11
"""Lines of a terminal that are not rows: title, head, borders, commands."""

_STYLES: Final = {
    "running": "green", "leader": "bold cyan", "paused": "yellow", "candidate": "yellow", "crashed": "red",
}  # fmt: skip


def print_settled(peers: Sequence[LocalPeer], statuses: Mapping[str, Any]) -> None:
    """Print the table with what each peer has just said of itself."""
    print_table(COLUMNS, _rows(peers, statuses))


def follow(circle: Circle, look: Look, *, network: NetworkFolder, interrupts: Interrupts, is_silent: bool) -> None:
    """Show the peers until somebody asks to end, or none of them runs any more.

    Args:
        is_silent: Show nothing, since the result was printed as JSON.
    """
    if is_silent or not is_terminal(sys.stdout):
        if not is_silent:
            print_table(COLUMNS, rows_of(circle, look()))
            for line in next_commands(network):
                print_line(line)
            sys.stdout.flush()
        while _any_runs(look()) and not interrupts.wait(_PERIOD_S):
            pass
    else:
        _follow_live(circle, look, network=network, interrupts=interrupts)
    if not interrupts.happened:
        print_note("all peers have ended; pair up starts them again")


def rows_of(circle: Circle, peers: Sequence[LocalPeer]) -> list[list[object]]:
    """Return a row for each peer; what only it can tell is missing where it does not answer."""
    answers = circle.ask(
        "/v1/status", [peer.name for peer in peers if peer.state == "running"], timeout_s=_ANSWER_TIMEOUT_S
    )
    return _rows(peers, answers)


def _rows(peers: Sequence[LocalPeer], statuses: Mapping[str, Any]) -> list[list[object]]:
    rows: list[list[object]] = []
    for peer in peers:
        status: dict[str, Any] = statuses.get(peer.name) or {}
        told = [status.get("role"), status.get("term"), status.get("keys_held")]
        rows.append([peer.name, peer.address, peer.state, *told])
    return rows


def next_commands(network: NetworkFolder) -> list[str]:
    """Return three commands to try, for a person who has just started a network."""
    option = "" if network.name == DEFAULT_NETWORK else f" --network {network.name}"
    return [
        "Try in another terminal:",
        f"  pair put greeting hello{option}",
        f"  pair get greeting{option} --peer peer-1",
        f"  pair kill leader{option}",
    ]


def _any_runs(peers: Sequence[LocalPeer]) -> bool:
    return any(peer.state in ALIVE for peer in peers)


def _follow_live(circle: Circle, look: Look, *, network: NetworkFolder, interrupts: Interrupts) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        while True:
            began = time.monotonic()
            peers = look()
            live.update(_picture(rows_of(circle, peers), network, console.height), refresh=True)
            # A large network is asked less often: the watching must not become the load.
            pause_s = max(_PERIOD_S, 10 * (time.monotonic() - began))
            if not _any_runs(peers) or interrupts.wait(pause_s):
                return


def _picture(rows: Sequence[Sequence[object]], network: NetworkFolder, height: int) -> "RenderableType":
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=f"Network {escape(network.name)}", title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in ("term", "keys") else "left", no_wrap=True)
    room = max(3, height - _LINES_AROUND)
    shown = rows if len(rows) <= room else rows[: room - 1]
    for row in shown:
        table.add_row(*(_cell(Text, value) for value in row))
    rest = len(rows) - len(shown)
    lines = ([f"  … and {rest} more: pair ps, pair members"] if rest else []) + next_commands(network)
    return Group(table, Text("\n".join([*lines, "Ctrl-C stops the peers."]), style="dim"))


def _cell(text: Any, value: object) -> Any:
    shown = "-" if value is None else escape(str(value))
    return text(shown, style="" if "NO_COLOR" in os.environ else _STYLES.get(shown, ""))
