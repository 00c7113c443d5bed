"""The options that ``up``, ``start`` and ``join`` share, and what becomes of a setting that is not given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec

from bootstrap.home import NetworkFolder
from bootstrap.ports import PORT_MAX
from bootstrap.settings import StartSettings
from bootstrap.voters import lease_ms_of, read_voters
from node.cli.failures import wrong_use
from protocol.config import Profile
from protocol.limits import COUNCIL_SIZE_MAX, HOLDERS_MAX

if TYPE_CHECKING:
    from protocol.network import Mode

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
        if not network.exists():
            return
        if self.open and not network.is_open():
            raise wrong_use(
                f"--open contradicts the network {network.name!r}, which was founded with a key",
                next_step="choose another name: --network NAME",
            )

        self._check_voters(network)

    @property
    def mode(self) -> "Mode":
        """The mode of a network that is founded with these options."""
        return "available" if self.voters is None else "quorum"

    @property
    def founding_profile(self) -> Profile:
        """The profile of a network that is founded with these options."""
        return self.profile or StartSettings(port=0, api_port=0).profile

    def _check_voters(self, network: NetworkFolder) -> None:
        """Refuse other voters than the network was founded with, and times that do not fit their promises."""
        if network.mode() == "available":
            if self.voters is not None:
                raise wrong_use(
                    f"--voters contradicts the network {network.name!r}, which was founded without fixed voters",
                    next_step="choose another name: --network NAME",
                )
            return
        known = read_voters(network)
        if known is None:
            if self.voters is None and network.is_founded_here():
                raise wrong_use(
                    f"the founding of the network {network.name!r} was interrupted before its voters were named",
                    next_step="say --voters N again, or begin anew with 'pair down --purge'",
                )
            return
        if self.voters not in (None, len(known.voters)):
            raise wrong_use(
                f"--voters {self.voters} contradicts the network {network.name!r}, which has {len(known.voters)}",
                next_step="leave --voters out",
            )
        if self.profile is not None and lease_ms_of(self.profile) != known.lease_ms:
            raise wrong_use(
                f"--profile {self.profile} contradicts the network {network.name!r}: its voters promise other times",
                next_step="leave --profile out; for other times found another network with --voters",
            )

    def _given(self) -> dict[str, Any]:
        values = {"profile": self.profile, "k": self.k, "zeroconf": self.zeroconf, "faults": self.faults}
        return {field: value for field, value in values.items() if value is not None}


def start_options(command: CommandT) -> CommandT:
    """Add the shared options to a command; ``wishes_in`` takes them out of its arguments."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def peer_options(command: CommandT) -> CommandT:
    """Add the options of a command that runs one peer."""
    for option in reversed(_PEER_OPTIONS):
        command = option(command)
    return command


def wishes_in(given: dict[str, Any]) -> Wishes:
    """Remove the shared options from a command's arguments and return them."""
    return Wishes(**{name: given.pop(name) for name in Wishes.__dataclass_fields__})


_OPTIONS: Final = (
    click.option("--profile", type=click.Choice(["local", "lan", "wan"]), help="Times of the protocol (local)."),
    click.option(
        "--voters",
        type=click.IntRange(1, COUNCIL_SIZE_MAX),
        metavar="N",
        help="Only the first N peers elect; without a majority of them nobody leads (all elect).",
    ),
    click.option("--k", type=click.IntRange(1, HOLDERS_MAX), metavar="K", help="Holders of each record (8)."),
    click.option("--open", is_flag=True, help="An open network: no key, stock Kademlia nodes may join."),
    click.option("--i-know", is_flag=True, help="Let an open network listen beyond this machine."),
    click.option("--zeroconf/--no-zeroconf", default=None, help="Find peers on the local network (on)."),
    click.option("--faults/--no-faults", default=None, help="Let an admin inject faults (off)."),
)

_PORT: Final = click.IntRange(1, PORT_MAX)
_PEER_OPTIONS: Final = (
    click.option("--name", metavar="N", help="Name of the peer; else the host's name and the start of its id."),
    click.option("--port", type=_PORT, metavar="P", help="Peer port, UDP and TCP (7400, or the next free one)."),
    click.option("--api-port", type=_PORT, metavar="P", help="Port of the API (8400, or the next free one)."),
    click.option("--bind", metavar="ADDR", help="Address to listen on (127.0.0.1); 0.0.0.0: all."),
    click.option("--api-bind", metavar="ADDR", help="Address of the API (127.0.0.1); 0.0.0.0: all."),
    click.option(
        "--api-host", "api_hosts", multiple=True, metavar="NAME", help="A further name that the API answers to."
    ),
    click.option("--advertise", metavar="ADDR", help="Address that others should use, if not the bound one."),
    click.option(
        "--seed", "seeds", multiple=True, metavar="HOST:PORT", help="A peer to join through; may be repeated."
    ),
    click.option("--detach", is_flag=True, help="Return once the peer is ready, and let it run."),
)
