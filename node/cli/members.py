"""``status members leader elect``: how one peer sees itself, the others, and who leads."""

import json
from contextlib import closing
from typing import Any

import click

from node.api_client import Answer
from node.cli.explain import print_explain, with_server
from node.cli.options import Options, PairCommand, pass_options
from node.cli.output import escape, print_json, print_line, print_table
from node.cli.session import Session
from node.cli.waiting import waiting


@click.command(cls=PairCommand)
@pass_options
def status(options: Options, /) -> None:
    """Show how one peer sees itself; --peer chooses which."""
    with closing(Session(options, "read")) as session:
        document = session.request("GET", "/v1/status").document()
    if options.as_json:
        print_json(with_server(document, served_by=document["id"]) if options.explain else document)
        return
    counts, is_banned = document["members"], "banned" in document
    for name, value in [
        ("peer", f"{document['name']}  {document['id']}"),
        ("network", f"{document['network']} ({document['mode']}, profile {document['profile']})"),
        ("ready", "yes" if document["ready"] else "no: it is banned" if is_banned else "not yet: it has met nobody"),
        ("role", f"{document['role']} in term {document['term']}"),
        ("leader", document["leader"] or "none just now"),
        ("banned", f"by the admin, since {document['banned']}: no member hears it" if is_banned else ""),
        ("members", ", ".join(f"{counts[state]} {state}" for state in ("alive", "suspect", "failed", "left"))),
        ("keys", f"{document['keys_held']} held here"),
        ("running", f"{_duration(document['uptime_s'])}, version {document['version']}"),
    ]:
        if value:
            print_line(f"{name:8}  {escape(value)}")
    _print_explain(options, document["id"])


@click.command(cls=PairCommand)
@pass_options
def members(options: Options, /) -> None:
    """List the members as one peer sees them; --peer chooses which."""
    with closing(Session(options, "read")) as session:
        rows = session.request("GET", "/v1/members").document()
    if options.as_json:
        print_json(rows)
        return
    print_table(
        ["name", "state", "role", "address", "api", "rtt ms", "id"],
        [
            [row["name"], row["state"], row["role"], row["address"], row["api"], row["rtt_ms"], row["id"][:12]]
            for row in rows
        ],
    )


@click.command(cls=PairCommand)
@pass_options
def leader(options: Options, /) -> None:
    """Show which leader one peer follows; --peer chooses which."""
    with closing(Session(options, "read")) as session:
        document = session.request("GET", "/v1/leader").document()
    _print_leader(document, options)


@click.command(cls=PairCommand)
@click.option("--to", metavar="NAME", help="Who should lead: a name or the start of an id; else the leader chooses.")
@pass_options
def elect(options: Options, /, to: str | None) -> None:
    """Hand the leadership over, in good order."""
    body = json.dumps({} if to is None else {"to": to}).encode()
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    with closing(Session(options, "admin")) as session, waiting("waiting for the new leader"):
        answer: Answer = session.request("POST", "/v1/leader/handover", headers=headers, body=body)
    _print_leader(answer.document(), options)


def _print_leader(document: dict[str, Any], options: Options) -> None:
    if options.as_json:
        print_json(with_server(document, served_by=None) if options.explain else document)
    elif document["id"] is None:
        print_line("there is no leader just now")
    else:
        lead = f"{document['name']} leads since {document['since']} in term {document['term']}"
        print_line(escape(f"{lead}  {document['address']}  {document['id']}"))


def _print_explain(options: Options, served_by: str) -> None:
    if options.explain:
        print_explain({"served_by": served_by, "holders": [], "asked": []})


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"for {hours} h {minutes} min"
    return f"for {minutes} min {rest} s" if minutes else f"for {rest} s"
