"""The command line (DESIGN section 8): ``main`` is the program ``pair``.

Start-up is light: a command's module is imported when the command is used, and nothing heavy (aiohttp,
cryptography, rich, zeroconf, tinydb) before something needs it.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import click

from node import __version__
from node.api_client import ApiError
from node.cli.failures import CommandFailed, failed, of_api, of_environment, wrong_use
from node.cli.options import LazyGroup, Options, merged
from node.cli.output import print_failure
from node.errors import EXIT_DONE, EXIT_FAILED
from protocol.errors import EnvironmentFault

EXIT_INTERRUPTED: Final = 130
"""Ctrl-C where a command has nothing of its own to end: 128 + SIGINT, as shells say it."""

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("node.cli.up:up", "Start a network of N peers here."),
    "ps": ("node.cli.lifecycle:ps", "List the peers of this machine, running or not."),
    "down": ("node.cli.lifecycle:down", "Stop all peers of a network; --purge deletes their data."),
    "kill": ("node.cli.lifecycle:kill", "End a peer at once (SIGKILL)."),
    "pause": ("node.cli.lifecycle:pause", "Freeze a peer (SIGSTOP)."),
    "resume": ("node.cli.lifecycle:resume", "Let a frozen peer go on."),
    "restart": ("node.cli.lifecycle:restart", "Stop a peer and start it again, or start a killed one."),
    "start": ("node.cli.start:start", "Start one peer in the foreground."),
    "stop": ("node.cli.lifecycle:stop", "Stop one peer in good order."),
    "invite": ("node.cli.inviting:invite", "Let another machine in."),
    "join": ("node.cli.joining:join", "Join a network by an invite, and run a peer."),
    "ban": ("node.cli.banning:ban", "Leave a peer out of the network, or let it in again."),
    "token": ("node.cli.tokens:token", "Print a token of the network."),
    "doctor": ("node.cli.doctor:doctor", "Check this machine and its peers."),
    "status": ("node.cli.members:status", "Show how one peer sees itself."),
    "members": ("node.cli.members:members", "List the members as one peer sees them."),
    "leader": ("node.cli.members:leader", "Show which leader one peer follows."),
    "elect": ("node.cli.members:elect", "Hand the leadership over."),
    "put": ("node.cli.values:put", "Store a value under a key."),
    "get": ("node.cli.values:get", "Print the value of a key."),
    "delete": ("node.cli.values:delete", "Delete a key."),
    "keys": ("node.cli.values:keys", "List the keys."),
    "watch": ("node.cli.values:watch", "Follow the changes of keys as they happen."),
    "fault": ("node.cli.faults:fault", "Break what flows between peers, on purpose."),
    "completion": ("node.cli.completions:completion", "Print the completion script of a shell."),
}
"""Each command → where it lives, and its line in the help."""


@click.group(cls=LazyGroup, table=COMMANDS, context_settings={"max_content_width": 100})
@click.version_option(__version__, prog_name="pair", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, /, **given: object) -> None:
    """A network of identical peers: start some, ask any of them anything, break them on purpose.

    Exit codes: 0 done, 1 failed, 2 wrong use, 3 not found, 4 no peer reachable, 5 refused, 130 interrupted.
    """
    ctx.obj = merged(Options(), given)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and end the process with its exit code."""
    code = run(sys.argv[1:] if arguments is None else arguments)
    sys.exit(_flushed(code))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; whatever happens, no traceback is printed."""
    as_json = "--json" in _before_dashes(arguments)
    if sys.stdout is not None and hasattr(sys.stdout, "reconfigure"):
        # A terminal that cannot show a character gets its escape, never an exception.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        result = cli.main(list(arguments), prog_name="pair", standalone_mode=False)
        if sys.stdout is not None:
            sys.stdout.flush()
    except click.UsageError as error:
        return _print_usage(error, as_json=as_json)
    except (KeyboardInterrupt, click.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_FAILED
    except Exception as error:  # the top of the program: every failure becomes one line and an exit code
        failure = _failure_of(error)
        print_failure(failure, as_json=as_json)
        return failure.exit_code
    return result if isinstance(result, int) else EXIT_DONE


def _before_dashes(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def _failure_of(error: Exception) -> CommandFailed:
    if isinstance(error, CommandFailed):
        return error
    if isinstance(error, ApiError):
        return of_api(error, writing=False)
    if isinstance(error, EnvironmentFault):
        return of_environment(error)
    if isinstance(error, click.ClickException):
        return failed(error.format_message())
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return failed(f"{where}{error.strerror or error}", next_step="pair doctor checks folders, ports and disk")
    return failed(f"a defect of pair: {type(error).__name__}: {error}", next_step="please report it with this line")


def _print_usage(error: click.UsageError, *, as_json: bool) -> int:
    command = error.ctx.command_path if error.ctx is not None else "pair"
    failure = wrong_use(" ".join(error.format_message().split()), next_step=f"{command} --help")
    print_failure(failure, as_json=as_json)
    return failure.exit_code


def _flushed(code: int) -> int:
    """Return the exit code after the last bytes went out; a reader that left must not cause a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return code or EXIT_FAILED
    return code
