"""The peer that ``start`` means when no name is given: called by the host's name and the start of its id."""

import os
import re
import socket
from typing import Final

from bootstrap.files import os_errors
from bootstrap.home import NetworkFolder
from bootstrap.peer_folder import PeerFolder
from node.cli.peers import ALIVE

_ID_DIGITS: Final = 8
_HOST_SIZE_MAX: Final = 40


def default_peer(network: NetworkFolder) -> PeerFolder:
    """Return the first such peer that does not run, else a new one with its key.

    Raises:
        ConfigError, StoreError: Its folder cannot be used or created.
    """
    host = host_name()
    for peer in network.peers():
        if peer.name == f"{host}-{peer.peer_id()[:_ID_DIGITS]}" and peer.state() not in ALIVE:
            return peer
    # The name follows from the id, so the key comes first; a name with a dot is no peer's.
    unnamed = PeerFolder(network.path / f".start-{os.getpid()}")
    peer_id = unnamed.create().peer_id.hex()
    named = network.peer(f"{host}-{peer_id[:_ID_DIGITS]}")
    with os_errors(f"create {named.path}"):
        unnamed.path.rename(named.path)
    return named


def name_of(peer_id: bytes) -> str:
    """Return the default name of a peer of this host."""
    return f"{host_name()}-{peer_id.hex()[:_ID_DIGITS]}"


def host_name() -> str:
    """Return the short name of this host as part of a peer's name."""
    short = socket.gethostname().partition(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", short).strip("-")[:_HOST_SIZE_MAX] or "peer"
