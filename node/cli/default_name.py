"""The peer that ``start`` means when no name is given.

By default one called by the host's name and the start of its id; with ``--claim`` whichever of peer-1, peer-2, …
nobody else is, for hosts that come and go, such as containers, and share a folder that stays.
"""

import os
import re
import socket
from typing import Final

from bootstrap.files import os_errors
from bootstrap.home import NetworkFolder
from bootstrap.locks import FolderInUse
from bootstrap.peer_folder import PeerFolder
from node.cli.failures import refused
from node.cli.peers import ALIVE

CLAIMS_MAX: Final = 1000
"""Peers of one folder that can be claimed."""

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


def claim_peer(network: NetworkFolder) -> PeerFolder:
    """Return a peer that nobody is; nobody else can claim it until this process ends.

    Peers that ran before come first, the last to end before all: a host that starts again finds itself. Else it is
    the first number that is free.

    Raises:
        CommandFailed: All are taken (exit 5).
        ConfigError, StoreError: Their folders cannot be used.
    """
    numbered = [network.peer(f"peer-{number}") for number in range(1, CLAIMS_MAX + 1)]
    known = {peer.name: peer.last_ran() for peer in network.peers()}
    old = [peer for peer in numbered if peer.name in known]
    new = [peer for peer in numbered if peer.name not in known]
    for peer in (*sorted(old, key=lambda peer: known[peer.name], reverse=True), *new):
        try:
            peer.claim()  # never released
        except FolderInUse:
            continue
        return peer
    raise refused(
        f"all of peer-1 to peer-{CLAIMS_MAX} of the network {network.name!r} are taken",
        next_step="end some, or choose another name with --name",
    )


def name_of(peer_id: bytes) -> str:
    """Return the default name of a peer of this host."""
    return f"{host_name()}-{peer_id.hex()[:_ID_DIGITS]}"


def host_name() -> str:
    """Return the short name of this host as part of a peer's name."""
    short = socket.gethostname().partition(".")[0].lower()
    return re.sub(r"[^a-z0-9]+", "-", short).strip("-")[:_HOST_SIZE_MAX] or "peer"
