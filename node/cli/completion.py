"""Completion for bash, zsh and fish: the scripts are click's; names of peers come from the folders here."""

from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS: Final = ("bash", "fish", "zsh")

_VARIABLE: Final = "_PAIR_COMPLETE"
"""The environment variable that click's scripts set, and click looks at."""


def completion_script(shell: str) -> str:
    """Return the script that makes ``shell`` complete ``pair``."""
    from click.shell_completion import get_completion_class

    from node.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None, shell
    shell_complete = kind(cli, {}, "pair", _VARIABLE)
    # Not its ``source``, which starts bash to look at its version: the script may be for another machine.
    return shell_complete.source_template % shell_complete.source_vars()


def complete_peers(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return the names of local peers that start with ``incomplete``; none when the folders cannot be read."""
    from click.shell_completion import CompletionItem

    from node.cli.peers import local_peers, network_of
    from protocol.errors import PairError

    given = {**ctx.find_root().params, **ctx.params}
    try:
        rows = local_peers(network_of(given.get("network")))
    except (PairError, OSError):
        return []
    return [CompletionItem(row.name, help=row.state) for row in rows if row.name.startswith(incomplete)]


def complete_targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
    """Return the names of local peers, and the two words that choose one."""
    from click.shell_completion import CompletionItem

    words = [CompletionItem(word) for word in ("leader", "random") if word.startswith(incomplete)]
    return complete_peers(ctx, param, incomplete) + words
