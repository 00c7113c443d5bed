"""The global options, before or after the command, and commands that load only when they are used.

A command is a ``PairCommand``: it takes every global option as well, and what it is given wins over what came
before the command. ``node.cli.commands`` lists the commands; further ones come from the entry-point group
``pair.commands`` and should be ``PairCommand`` objects too.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import click

from node.cli.completion import complete_peers

ENTRY_POINT_GROUP: Final = "pair.commands"
TIMEOUT_MAX_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Options:
    """The global options as given."""

    peer: str | None = None
    network: str | None = None
    as_json: bool = False
    explain: bool = False
    timeout_s: float | None = None
    """None: not given, so that ``up`` may take a longer default."""

    token_file: str | None = None

    @property
    def deadline_s(self) -> float:
        """How long a command may take, in seconds."""
        return DEFAULT_TIMEOUT_S if self.timeout_s is None else self.timeout_s


DEFAULT_TIMEOUT_S: Final = 10.0

pass_options = click.make_pass_decorator(Options, ensure=True)
"""Hands the ``Options`` to a command as its first argument."""


class Seconds(click.ParamType):  # type: ignore[type-arg]  # generic in newer versions only
    """A positive finite number of seconds."""

    name = "seconds"

    def __init__(self, *, maximum_s: float = TIMEOUT_MAX_S) -> None:
        self.maximum_s = maximum_s

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; anything else is wrong use."""
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds", param, ctx)
        if not math.isfinite(seconds) or not 0 < seconds <= self.maximum_s:
            self.fail(f"choose more than 0 and at most {self.maximum_s:.0f} seconds", param, ctx)
        return seconds


def global_options(*, environment: bool) -> list[click.Parameter]:
    """Return fresh global options; only those before the command look at the environment."""

    def variable(name: str) -> str | None:
        return name if environment else None

    return [
        click.Option(
            ["--peer"],
            metavar="NAME|ID|URL",
            envvar=variable("PAIR_PEER"),
            shell_complete=complete_peers,
            help="Which peer to ask: a name, the start of an id (6 digits or more), or an API address.",
        ),
        click.Option(["--network"], metavar="NAME", envvar=variable("PAIR_NETWORK"), help="Which network."),
        click.Option(["--json", "as_json"], is_flag=True, default=None, help="Print JSON."),
        click.Option(["--explain"], is_flag=True, default=None, help="Say who was asked and who answered."),
        click.Option(["--timeout", "timeout_s"], type=Seconds(), metavar="S", help="Seconds to wait (10)."),
        click.Option(
            ["--token-file"],
            metavar="FILE",
            envvar=variable("PAIR_TOKEN_FILE"),
            type=click.Path(),
            help="A file with a token, or a tokens.json.",
        ),
    ]


def merged(options: Options, given: Mapping[str, Any]) -> Options:
    """Return ``options`` with what is given (neither None nor empty) put over it."""
    return replace(options, **{name: value for name, value in given.items() if value not in (None, "")})


_GLOBAL_NAMES: Final = ("peer", "network", "as_json", "explain", "timeout_s", "token_file")


class PairCommand(click.Command):
    """A command that takes the global options after its name too."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.params.extend(global_options(environment=False))

    def invoke(self, ctx: click.Context) -> Any:
        """Take the global options out of the parameters, into the context's ``Options``."""
        given: dict[str, Any] = {name: ctx.params.pop(name) for name in _GLOBAL_NAMES if name in ctx.params}
        root = ctx.find_root()
        root.obj = merged(root.obj or Options(), given)
        ctx.obj = root.obj
        return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options first, then the global ones apart."""
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                (shared if parameter.name in _GLOBAL_NAMES else own).append(record)
        for title, records in (("Options", own), ("Global options", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


class PairGroup(PairCommand, click.Group):
    """A command with commands of its own; the global options may stand behind each of their names."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options as for every command, and then the commands."""
        super().format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, so that each start pays only for its own.

    Args:
        table: Name of each command → (``module:attribute``, one line of help).
    """

    def __init__(self, *arguments: Any, table: Mapping[str, tuple[str, str]], **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.params.extend(global_options(environment=True))
        self._table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, those of other packages last."""
        return [*self._table, *sorted(_further_commands())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command; None when there is none of that name."""
        if cmd_name in self._table:
            module, _, attribute = self._table[cmd_name][0].partition(":")
            command = getattr(importlib.import_module(module), attribute)
            assert isinstance(command, click.Command), cmd_name
            return command
        loader = _further_commands().get(cmd_name)
        return loader() if loader is not None else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands: help imports none of the table, and of other packages just what they export."""
        rows = [(name, summary) for name, (_, summary) in self._table.items()]
        rows += [(name, _summary(loader)) for name, loader in sorted(_further_commands().items())]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _summary(loader: Callable[[], click.Command]) -> str:
    """Return a command's line in the help; one that cannot be imported must not take the help away."""
    try:
        return loader().get_short_help_str(limit=100)
    except Exception as error:  # another package's code: whatever it raises
        return f"cannot be loaded: {type(error).__name__}"


def _further_commands() -> dict[str, Callable[[], click.Command]]:
    """Return name → loader of the commands that installed packages add.

    ``importlib.metadata`` takes some 20 ms to import: only an unknown command and the list of all need it.
    """
    metadata = importlib.import_module("importlib.metadata")
    return {point.name: point.load for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}
