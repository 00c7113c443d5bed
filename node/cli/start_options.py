"""The options that ``up`` and ``start`` share, and what becomes of a setting that is not given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click
import msgspec

from bootstrap.home import NetworkFolder
from bootstrap.settings import StartSettings
from node.cli.failures import wrong_use
from protocol.config import Profile
from protocol.limits import HOLDERS_MAX

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_OPTION_OF: Final = {"profile": "--profile", "k": "--k", "zeroconf": "--zeroconf", "faults": "--faults"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """The shared options as given; None where one was not given."""

    profile: Profile | None
    k: int | None
    zeroconf: bool | None
    faults: bool | None
    open: bool
    voters: int | None
    i_know: bool

    def over(self, settings: StartSettings) -> StartSettings:
        """Return ``settings`` with what was given put over it: the rest stays as it was at the last start."""
        return msgspec.structs.replace(settings, **self._given())

    def check_against(self, name: str, settings: StartSettings) -> None:
        """Refuse options that contradict the peer ``name``, which runs with ``settings``.

        Raises:
            CommandFailed: One does (exit 2).
        """
        for field, value in self._given().items():
            present = getattr(settings, field)
            if value != present:
                raise wrong_use(
                    f"{_OPTION_OF[field]} contradicts {name}, which runs with {field} = {present}",
                    next_step=f"leave {_OPTION_OF[field]} out, or end the network first: pair down",
                )

    def check_network(self, network: NetworkFolder) -> None:
        """Refuse what cannot be had, or contradicts the network as it was founded.

        Raises:
            CommandFailed: Something does (exit 2).
            ConfigError, StoreError: The network's key cannot be read.
        """
        if self.voters is not None:
            raise wrong_use(
                "--voters: fixed voters come with quorum networks, which this version does not have yet",
                next_step="leave --voters out: the network elects its leader among all peers",
            )
        if self.open and network.exists() and not network.is_open():
            raise wrong_use(
                f"--open contradicts the network {network.name!r}, which was founded with a key",
                next_step="choose another name: --network NAME",
            )

    def _given(self) -> dict[str, Any]:
        values = {"profile": self.profile, "k": self.k, "zeroconf": self.zeroconf, "faults": self.faults}
        return {field: value for field, value in values.items() if value is not None}


def start_options(command: CommandT) -> CommandT:
    """Add the shared options to a command; ``wishes_in`` takes them out of its arguments."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def wishes_in(given: dict[str, Any]) -> Wishes:
    """Remove the shared options from a command's arguments and return them."""
    return Wishes(**{name: given.pop(name) for name in Wishes.__dataclass_fields__})


_OPTIONS: Final = (
    click.option("--profile", type=click.Choice(["local", "lan", "wan"]), help="Times of the protocol (local)."),
    click.option("--voters", type=click.IntRange(min=1), metavar="N", help="Fixed voters; not in this version."),
    click.option("--k", type=click.IntRange(1, HOLDERS_MAX), metavar="K", help="Holders of each record (8)."),
    click.option("--open", is_flag=True, help="An open network: no key, stock Kademlia nodes may join."),
    click.option("--i-know", is_flag=True, help="Let an open network listen beyond this machine."),
    click.option("--zeroconf/--no-zeroconf", default=None, help="Find peers on the local network (on)."),
    click.option("--faults/--no-faults", default=None, help="Let an admin inject faults (off)."),
)
