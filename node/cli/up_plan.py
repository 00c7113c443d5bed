"""What ``up N`` has to do: which peers are to be started, with which ports and settings."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from bootstrap.home import NetworkFolder
from bootstrap.ports import API_BASE, PEER_BASE, assign_ports, is_free
from bootstrap.settings import StartSettings
from node.cli.launching import PlannedPeer, settings_of
from node.cli.peers import ALIVE, LocalPeer, local_peers, networks_here
from node.cli.start_options import Wishes

HOST: Final = "127.0.0.1"
"""Peers that ``up`` starts are reached from this machine only."""

_NUMBERED: Final = re.compile(r"peer-([1-9][0-9]{0,4})\Z")


@dataclass(frozen=True, slots=True)
class UpPlan:
    """How the target is reached."""

    starting: Sequence[PlannedPeer]
    paused: Sequence[LocalPeer]
    """Peers of the target that have a process and are to be resumed."""

    may_move: bool
    """Whether no peer of the network runs, so that all may have other ports."""

    def has_lost_ports(self, names: Collection[str]) -> bool:
        """Return whether another program took a port of one of the peers ``names``, which do not run."""
        return any(
            not (is_free(HOST, peer.settings.port, udp=True) and is_free(HOST, peer.settings.api_port, udp=False))
            for peer in self.starting
            if peer.folder.name in names
        )


def plan_up(
    network: NetworkFolder, count: int, *, base_port: int | None, api_base_port: int | None, wishes: Wishes
) -> UpPlan:
    """Decide what is missing from peer-1 to peer-``count``.

    Raises:
        CommandFailed, ConfigError: The options contradict what runs, or cannot work.
        PortTaken: A port that cannot be exchanged is used by another program.
        StoreError: A record is damaged.
    """
    peers = _numbered(local_peers(network))
    known = {number: settings for number, peer in peers.items() if (settings := settings_of(peer)) is not None}
    running = [number for number in peers if peers[number].state in ALIVE]
    for number in running:
        wishes.check_against(f"peer-{number}", known[number])
    foreign = _ports_elsewhere(network)
    ports = assign_ports(
        count=count,
        base=base_port,
        first_base=PEER_BASE,
        kept={number: settings.port for number, settings in known.items()},
        running=running,
        free=lambda port: is_free(HOST, port, udp=True),
        avoid=foreign,
        option="--base-port",
    )
    api_ports = assign_ports(
        count=count,
        base=api_base_port,
        first_base=API_BASE,
        kept={number: settings.api_port for number, settings in known.items()},
        running=running,
        free=lambda port: port not in ports.values() and is_free(HOST, port, udp=False),
        avoid=foreign,
        option="--api-base-port",
    )
    like = _model(known, running)
    starting = [
        PlannedPeer(
            network.peer(f"peer-{number}"),
            wishes.over(
                msgspec.structs.replace(known.get(number, like), port=ports[number], api_port=api_ports[number])
            ),
        )
        for number in range(1, count + 1)
        if number not in running
    ]
    paused = [peers[number] for number in running if number <= count and peers[number].state == "paused"]
    return UpPlan(starting, paused, may_move=not running)


def _numbered(peers: Sequence[LocalPeer]) -> dict[int, LocalPeer]:
    matches = [(_NUMBERED.match(peer.name), peer) for peer in peers]
    return {int(match[1]): peer for match, peer in matches if match is not None}


def _model(known: Mapping[int, StartSettings], running: Sequence[int]) -> StartSettings:
    """Return the settings that a new peer takes over: those of a peer that runs, else of any, else the defaults."""
    for number in (*running, *known):
        if number in known:
            settings = known[number]
            return StartSettings(
                port=0,
                api_port=0,
                profile=settings.profile,
                k=settings.k,
                zeroconf=settings.zeroconf,
                faults=settings.faults,
            )
    return StartSettings(port=0, api_port=0)


def _ports_elsewhere(network: NetworkFolder) -> set[int]:
    """Return the ports that the other networks of this machine keep."""
    ports: set[int] = set()
    for other in networks_here():
        if other.name == network.name:
            continue
        for peer in local_peers(other):
            settings = settings_of(peer)
            if settings is not None:
                ports |= {settings.port, settings.api_port}
    return ports
