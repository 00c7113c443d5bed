"""``invite``: let another machine in, see who was let in, and take an invite back."""

import io
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, Final

import click

from node.cli.failures import CommandFailed, wrong_use
from node.cli.options import Options, PairCommand, pass_options
from node.cli.output import print_json, print_line, print_note, print_table
from node.cli.peers import local_peers, network_of
from node.cli.session import Session

_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_EXPIRES_MAX_S: Final = 7 * 86_400
_USES_MAX: Final = 255
_DURATION: Final = re.compile(r"([1-9][0-9]{0,8})([smhd]?)\Z")


class Duration(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """A whole number of seconds, minutes, hours or days: 90s, 15m, 12h, 2d."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return it in seconds; anything else is wrong use."""
        found = _DURATION.match(str(value))
        seconds = int(found[1]) * _UNITS_S[found[2] or "s"] if found else 0
        if not 1 <= seconds <= _EXPIRES_MAX_S:
            self.fail(f"{value!r} is no time like 90s, 15m, 12h or 2d, up to 7d", param, ctx)
        return seconds


@click.command(cls=PairCommand)
@click.argument("action", nargs=-1, metavar="[list | revoke ID]")
@click.option("--role", type=click.Choice(["member", "reader"]), help="What it makes of a machine (member).")
@click.option("--uses", type=click.IntRange(1, _USES_MAX), metavar="N", help="How many machines it lets in (1).")
@click.option("--expires", type=Duration(), metavar="T", help="How long it is good, like 90s, 15m or 2d (15m).")
@click.option("--qr", is_flag=True, help="Show it as a QR code too.")
@pass_options
def invite(
    options: Options, /, action: Sequence[str], role: str | None, uses: int | None, expires: int | None, qr: bool
) -> None:
    """Print an invite: with it another machine joins the network (pair join), once and within 15 minutes.

    The invite leads to the asked peer, which lets in who comes with it. Whoever has the invite can use it: show it to
    nobody else. "invite list" shows the invites of the peers of this machine, "invite revoke ID" takes one back.
    """
    if action and any([role, uses, expires, qr]):
        raise wrong_use(f"{' '.join(action)} takes no such option", next_step="pair invite --help")
    if not action:
        _invite(options, role=role, uses=uses, expires_s=expires, qr=qr)
    elif action[0] == "list" and len(action) == 1:
        _list(options)
    elif action[0] == "revoke" and len(action) == 2:
        _revoke(options, action[1])
    else:
        raise wrong_use(f"invite {' '.join(action)!r} means nothing", next_step="pair invite [list | revoke ID]")


def _invite(options: Options, *, role: str | None, uses: int | None, expires_s: int | None, qr: bool) -> None:
    if qr and options.as_json:
        raise wrong_use("--qr shows a picture, and --json a document", next_step="leave one of them out")
    wanted = {"role": role, "uses": uses, "expires_s": expires_s}
    body = json.dumps({field: value for field, value in wanted.items() if value is not None}).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    with closing(Session(options, "admin")) as session:
        made = session.request("POST", "/v1/invites", headers=headers, body=body).document()
    if options.as_json:
        print_json(made)
        return
    print_line(made["invite"])
    if qr:
        _print_qr(made["invite"])
    what = "joins the network" if made["role"] == "member" else "can read the network"
    who = "one machine" if made["uses"] == 1 else f"{made['uses']} machines"
    print_note(f"  with it {who} {what} until {made['expires']}: pair join INVITE")
    print_note(f"  it leads to {', '.join(made['addresses'])}; pair invite revoke {made['id'][:6]} takes it back")
    if all(map(_is_of_this_machine, made["addresses"])):
        print_note("  that is this machine only: for others a peer must listen elsewhere (pair start --bind ADDR)")
    elif made["apis"] and all(map(_is_of_this_machine, made["apis"])):
        print_note("  but the APIs to read from are for this machine only: see pair start --api-bind ADDR")


def _is_of_this_machine(address: str) -> bool:
    return address.removeprefix("http://").startswith(("127.", "[::1]"))


def _list(options: Options) -> None:
    rows = [row for session in _issuers(options) for row in session.request("GET", "/v1/invites").document()]
    if options.as_json:
        print_json(rows)
    elif not rows:
        print_line("there is no invite that has not expired")
    else:
        print_table(
            ["id", "role", "state", "used", "expires", "issuer"],
            [
                [row["id"], row["role"], row["state"], f"{len(row['used_by'])} of {row['uses']}", row["expires"],
                 row["issuer"][:12]]
                for row in rows
            ],
        )  # fmt: skip


def _revoke(options: Options, id: str) -> None:
    if not re.fullmatch(r"[0-9a-fA-F]{1,12}", id):
        raise wrong_use(f"{id!r} is no id of an invite", next_step="pair invite list shows them")
    missing: CommandFailed | None = None
    for session in _issuers(options):
        try:
            row = session.request("DELETE", f"/v1/invites/{id}").document()
        except CommandFailed as failure:
            if failure.status != 404:
                raise
            missing = failure
            continue
        if options.as_json:
            print_json(row)
        else:
            print_line(f"the invite {row['id']} is {row['state']}")
        return
    assert missing is not None, "at least one peer was asked"
    raise missing


def _issuers(options: Options) -> Iterator[Session]:
    """Yield a way to each peer that may have issued invites: the asked one, else all that run on this machine."""
    names = [peer.name for peer in local_peers(network_of(options.network)) if peer.state == "running"]
    for peer in [options.peer] if options.peer is not None or not names else names:
        with _open(replace(options, peer=peer)) as session:
            yield session


@contextmanager
def _open(options: Options) -> Iterator[Session]:
    with closing(Session(options, "admin")) as session:
        yield session


def _print_qr(text: str) -> None:
    """Print a QR code; capitals take the smallest form, and an invite is read in any case."""
    import segno

    drawn = io.StringIO()
    segno.make(text.upper(), error="l", micro=False).terminal(drawn, border=2, compact=True)
    print_line(drawn.getvalue().rstrip("\n"))
