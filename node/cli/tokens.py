"""``token``: print a token of the network."""

import click

from node.cli.options import Options, PairCommand, pass_options
from node.cli.output import print_json, print_line
from node.cli.peers import existing_network


@click.command(cls=PairCommand)
@click.option(
    "--level", type=click.Choice(["read", "member", "admin"]), default="member", help="What it allows (member)."
)
@pass_options
def token(options: Options, /, level: str) -> None:
    """Print a token of the network, for programs that use the HTTP API."""
    text: str = getattr(existing_network(options.network).tokens(), level)
    if options.as_json:
        print_json({"level": level, "token": text})
    else:
        print_line(text)
