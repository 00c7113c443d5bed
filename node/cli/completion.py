"""Completion for bash, zsh and fish: the scripts are click's; names of peers come from the folders here."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_VARIABLE = "_PAIR_COMPLETE"
"""The environment variable that click's scripts set, and click looks at."""

_WHERE = {
    "bash": "eval \"$(pair completion bash)\" in ~/.bashrc",
    "zsh": "eval \"$(pair completion zsh)\" in ~/.zshrc",
    "fish": "pair completion fish > ~/.config/fish/completions/pair.fish",
}  # fmt: skip


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


def _command() -> click.Command:
    from node.cli.options import PairCommand

    @click.command(cls=PairCommand)
    @click.argument("shell", type=click.Choice(sorted(_WHERE)))
    def completion(shell: str) -> None:
        """Print the completion script of SHELL.

        \b
        bash: eval "$(pair completion bash)" in ~/.bashrc
        zsh:  eval "$(pair completion zsh)" in ~/.zshrc
        fish: pair completion fish > ~/.config/fish/completions/pair.fish
        """
    return completion
