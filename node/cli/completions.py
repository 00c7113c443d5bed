"""``completion``: print the script that makes a shell complete commands, options and names of peers."""

import click

from node.cli.completion import SHELLS, completion_script
from node.cli.options import Options, PairCommand, pass_options
from node.cli.output import print_json, print_line


@click.command(cls=PairCommand)
@click.argument("shell", type=click.Choice(SHELLS))
@pass_options
def completion(options: Options, /, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: eval "$(pair completion bash)" in ~/.bashrc
    zsh:  eval "$(pair completion zsh)" in ~/.zshrc
    fish: pair completion fish > ~/.config/fish/completions/pair.fish
    """
    script = completion_script(shell)
    if options.as_json:
        print_json({"shell": shell, "script": script})
    else:
        print_line(script.rstrip("\n"))
