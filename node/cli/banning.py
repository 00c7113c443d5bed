"""``ban``: leave a peer out of the network, see who is out, and let one in again."""

from contextlib import closing
from typing import Any
from urllib.parse import quote

import click

from node.cli.failures import wrong_use
from node.cli.options import Options, PairCommand, pass_options
from node.cli.output import escape, print_json, print_line, print_note, print_table
from node.cli.session import Session


@click.command(cls=PairCommand)
@click.argument("who", required=False, metavar="[PEER]")
@click.option("--list", "is_list", is_flag=True, help="Show who is banned.")
@click.option("--lift", metavar="PEER", help="Let a banned peer be a member again.")
@pass_options
def ban(options: Options, /, who: str | None, is_list: bool, lift: str | None) -> None:
    """Ban PEER (a name, an id or the start of one): no member hears it any more, under any address.

    The asked peer signs it with the admin's key, which lies where the network was founded. A banned machine still has
    the network key and can come back as another peer with a new id.
    """
    if sum([who is not None, is_list, lift is not None]) != 1:
        raise wrong_use("say whom to ban, or --list, or --lift PEER", next_step="pair ban --help")
    if is_list:
        _list(options)
        return
    method, named = ("PUT", who) if who is not None else ("DELETE", lift)
    assert named is not None, "one of the two is given"
    with closing(Session(options, "admin")) as session:
        row = session.request(method, f"/v1/bans/{quote(named, safe='')}").document()
    if options.as_json:
        print_json(row)
    elif row["state"] == "banned":
        print_line(f"{_called(row)} is banned: every member that runs hears of it now, the others when they start")
        print_note("  its machine still has the network key: found another network if you cannot trust it at all")
    else:
        print_line(f"the ban of {_called(row)} is lifted: it may join again")


def _list(options: Options) -> None:
    with closing(Session(options, "read")) as session:
        rows = session.request("GET", "/v1/bans").document()
    if options.as_json:
        print_json(rows)
    elif not rows:
        print_line("nobody is banned")
    else:
        print_table(["name", "id", "since"], [[row["name"], row["id"], row["since"]] for row in rows])


def _called(row: dict[str, Any]) -> str:
    return f"{escape(row['name'])} ({row['id'][:12]})" if row["name"] is not None else row["id"]
