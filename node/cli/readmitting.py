"""Letting a voter vote again that lost its vote file: only the admin may, on the machine where both keys are.

The voter forgot in which terms it voted, so it is readmitted above every term that is known here; it says itself which
loss is forgiven (the boot that found it), so that an old word never forgives a new loss.
"""

import contextlib
from contextlib import closing
from pathlib import Path
from typing import Final

import msgspec

from bootstrap.home import NetworkFolder
from bootstrap.voters import load_voters, save_voters
from node.api_client import ApiClient, ApiError
from node.cli.failures import refused, wrong_use
from node.cli.peers import LocalPeer, local_peers
from node.storage.vote import VoteFile, VoteFound
from protocol.effects import Promise
from protocol.errors import EnvironmentFault
from protocol.ids import PeerId
from protocol.statements import Readmission, VoterList, signed

TERMS_SPARED: Final = 64
"""An honest network spends a few terms that nobody here may know of, never as many."""

_ANSWER_TIMEOUT_S: Final = 2.0


def readmit(network: NetworkFolder, name: str) -> VoterList:
    """Sign that the voter called ``name`` may vote again, and put it in the network's folder.

    Raises:
        CommandFailed: It is no voter, or lost nothing.
        ConfigError, StoreError: A key is not here, or a file cannot be read or written.
    """
    known = load_voters(network)
    voter = PeerId(bytes.fromhex(network.peer(name).peer_id()))
    if known is None or voter not in known.voters:
        raise wrong_use(f"{name} is no voter of the network {network.name!r}", next_step="see pair doctor")
    promise = kept_promise(network.peer(name).path)
    if promise is None or not promise.lost_in:
        raise refused(
            f"{name} is not known to have lost its vote file",
            next_step=f"if it has, start it once, so that it notices: pair restart {name}",
        )
    word = Readmission(voter=voter, lost_in=promise.lost_in, above_term=_highest_term(network) + TERMS_SPARED)
    if any((old.voter, old.lost_in) == (word.voter, word.lost_in) for old in known.readmitted):
        raise refused(f"{name} is readmitted already", next_step=f"let it read that: pair restart {name}")
    admin = network.admin()
    newer = msgspec.structs.replace(
        known,
        version=known.version + 1,
        readmitted=(*(old for old in known.readmitted if old.voter != voter), word),
    )
    voters = signed(newer, admin, network.load().network_id)
    save_voters(network, voters)
    return voters


def kept_promise(folder: Path) -> Promise | None:
    """Return what a peer's vote file holds; None when it holds nothing that can be read."""
    if not (folder / "vote").exists():
        return None
    state = VoteFile(folder / "vote").peek()
    return state.promise if isinstance(state, VoteFound) else None


def _highest_term(network: NetworkFolder) -> int:
    """Return the highest term that any peer of this machine promised, follows or knows of."""
    peers = local_peers(network)
    promises = [kept_promise(peer.folder.path) for peer in peers]
    kept = [max(promise.voted.term, promise.highest.term) for promise in promises if promise is not None]
    return max([*kept, *(_told_term(network, peer) for peer in peers if peer.state == "running")], default=0)


def _told_term(network: NetworkFolder, peer: LocalPeer) -> int:
    with contextlib.suppress(ApiError, EnvironmentFault), closing(_client(network, peer)) as client:
        return int(client.request("GET", "/v1/status", timeout_s=_ANSWER_TIMEOUT_S).document()["term"])
    return 0


def _client(network: NetworkFolder, peer: LocalPeer) -> ApiClient:
    return ApiClient(str(peer.api), token=network.tokens().read)
