"""Which network, and which peers of this machine: read from folders alone, so it works when no peer lives."""

from dataclasses import dataclass
from typing import Any, Final

from bootstrap.home import NetworkFolder, list_networks, natural_order, pair_home
from bootstrap.peer_folder import PeerFolder, Run, RunState
from bootstrap.reader import networks_read, read_reader
from node.cli.failures import CommandFailed, no_peer, not_found, refused, wrong_use
from protocol.errors import EnvironmentFault
from protocol.ids import is_name

DEFAULT_NETWORK: Final = "local"
ALIVE: Final = ("running", "paused")
"""States in which there is a process."""

READERS_NEXT_STEP: Final = "see that they run, and that their API is open to this machine: pair start --api-bind ADDR"
"""What to do on a machine that only reads, when nobody answers."""

ID_PREFIX_SIZE_MIN: Final = 6
"""Hexadecimal digits that name a peer at least."""


@dataclass(frozen=True, slots=True)
class LocalPeer:
    """One row of ``pair ps``."""

    folder: PeerFolder
    network: str
    id: str | None
    """None when the key cannot be read."""

    run: Run | None
    state: RunState

    @property
    def name(self) -> str:
        """Name of the peer."""
        return self.folder.name

    @property
    def pid(self) -> int | None:
        """Its process, if there is one; None for one in another container, whose pid means nothing here."""
        return self.run.pid if self.run is not None and self.state in ALIVE and not self.run.is_elsewhere else None

    @property
    def api(self) -> str | None:
        """Address of its API in the present or last run."""
        return self.run.api if self.run is not None else None

    @property
    def address(self) -> str | None:
        """Address of its peer port in the present or last run."""
        return self.run.address if self.run is not None else None

    def document(self) -> dict[str, Any]:
        """Return the JSON shape of ``ps`` and ``up``."""
        return {
            "name": self.name,
            "id": self.id,
            "network": self.network,
            "pid": self.pid,
            "address": self.address,
            "api": self.api,
            "state": self.state,
        }


def local_peers(network: NetworkFolder) -> list[LocalPeer]:
    """Return all peers of ``network`` that live on this machine, in natural order of their names."""
    return [local_peer(network, folder) for folder in network.peers()]


def local_peer(network: NetworkFolder, folder: PeerFolder) -> LocalPeer:
    """Return the present row of one peer."""
    run = folder.run()
    return LocalPeer(
        folder=folder, network=network.name, id=_id_of(folder, run), run=run, state=folder.state_of(run)
    )


def networks_here() -> list[NetworkFolder]:
    """Return every network of this machine."""
    return list_networks(pair_home())


def network_of(name: str | None) -> NetworkFolder:
    """Return the network that a command means: the named one, else the only one running here, else ``local``.

    Where none runs and ``local`` is not here, it is the only one that this machine was invited to read.

    Raises:
        CommandFailed: The name is none, or several networks run and none of them is ``local``.
    """
    home = pair_home()
    if name is not None:
        if not is_name(name):
            raise wrong_use(f"{name!r} cannot name a network", next_step="use 1 to 63 characters of a-z, 0-9 and '-'")
        return NetworkFolder(home / name)
    running = [network for network in list_networks(home) if any(peer.state() in ALIVE for peer in network.peers())]
    if len(running) == 1:
        return running[0]
    names = [network.name for network in running]
    if names and DEFAULT_NETWORK not in names:
        raise wrong_use(
            f"several networks run here: {', '.join(names)}",
            next_step="choose one with --network NAME",
            facts={"candidates": names},
        )
    local = NetworkFolder(home / DEFAULT_NETWORK)
    read_here = [] if names or local.exists() else networks_read(home)
    return read_here[0] if len(read_here) == 1 else local


def existing_network(name: str | None) -> NetworkFolder:
    """Return ``network_of(name)``, which must exist.

    Raises:
        CommandFailed: See ``network_of``; or there is no such network here (exit 3).
    """
    network = network_of(name)
    if not network.exists() and not network.peers():
        raise not_found(f"there is no network {network.name!r} on this machine", next_step=f"start one: {_up(network)}")
    return network


def find_local(peers: list[LocalPeer], wanted: str) -> LocalPeer | None:
    """Return the peer with this name, or this start of its id; None when there is none.

    Raises:
        CommandFailed: Several ids start so (exit 2, with the candidates).
    """
    for peer in peers:
        if peer.name == wanted:
            return peer
    if not is_id_prefix(wanted):
        return None
    found = [peer for peer in peers if peer.id is not None and peer.id.startswith(wanted.lower())]
    if len(found) > 1:
        raise ambiguous(wanted, [f"{peer.name} ({peer.id})" for peer in found])
    return found[0] if found else None


def require_local(network: NetworkFolder, wanted: str) -> LocalPeer:
    """Return the local peer that ``wanted`` names.

    Raises:
        CommandFailed: None (exit 3) or several (exit 2) have that name or start of an id.
    """
    peer = find_local(local_peers(network), wanted)
    if peer is None:
        raise not_found(
            f"no peer {wanted!r} of the network {network.name!r} lives on this machine",
            next_step="pair ps lists the peers",
        )
    return peer


def require_here(peer: LocalPeer) -> LocalPeer:
    """Return ``peer``, whose process can be reached from here if it has one.

    Raises:
        CommandFailed: It runs in another container (exit 5).
    """
    if peer.state in ALIVE and peer.pid is None:
        raise refused(
            f"{peer.name} runs in another container that shares this folder",
            next_step="end or restart that container instead",
        )
    return peer


def ambiguous(wanted: str, candidates: list[str]) -> CommandFailed:
    """Return the failure for a name that several peers answer to."""
    ordered = sorted(candidates, key=natural_order)
    return wrong_use(
        f"{wanted!r} may be any of: {', '.join(ordered)}",
        next_step="give the whole name, or more digits of the id",
        facts={"candidates": ordered},
    )


def nobody_runs(network: NetworkFolder) -> CommandFailed:
    """Return the failure for a network none of whose peers answers here."""
    if not network.exists() and read_reader(network) is not None:
        return no_peer(
            f"none of the peers answers through which this machine reads the network {network.name!r}",
            next_step=READERS_NEXT_STEP,
        )
    if not network.exists():
        return no_peer(f"there is no network {network.name!r} on this machine", next_step=f"start one: {_up(network)}")
    return no_peer(
        f"no peer of the network {network.name!r} answers on this machine",
        next_step=f"pair ps shows their states; {_up(network)} starts them",
    )


def is_id_prefix(text: str) -> bool:
    """Return whether ``text`` can be the start of an id: 6 to 64 hexadecimal digits."""
    return ID_PREFIX_SIZE_MIN <= len(text) <= 64 and all(digit in "0123456789abcdef" for digit in text.lower())


def _up(network: NetworkFolder) -> str:
    option = "" if network.name == DEFAULT_NETWORK else f" --network {network.name}"
    return f"pair up {max(len(network.peers()), 5)}{option}"


def _id_of(folder: PeerFolder, run: Run | None) -> str | None:
    if run is not None:
        return run.id
    try:
        return folder.peer_id()
    except EnvironmentFault:
        return None
