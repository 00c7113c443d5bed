"""Checks of one network on this machine: keys, locks, its peers, the ways to others, damaged files."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Final

from bootstrap.home import NetworkFolder
from bootstrap.locks import FolderInUse
from bootstrap.reader import read_reader
from bootstrap.voters import read_voters
from node.api_client import ApiClient, ApiError
from node.cli.check_peers import peer_findings
from node.cli.check_reach import reach_findings
from node.cli.findings import Finding, broken_by
from node.cli.peers import LocalPeer, local_peers
from protocol.errors import EnvironmentFault

_DAMAGED_SHOWN_MAX: Final = 20
_APIS_MAX: Final = 8
_ANSWER_TIMEOUT_S: Final = 2.0


def network_findings(network: NetworkFolder) -> list[Finding]:
    """Return what is found of ``network``."""
    findings = [_keys(network), _lock(network)]
    try:
        peers = local_peers(network)
    except EnvironmentFault as fault:
        return [*findings, broken_by(f"{network.name}: peers", fault)]
    for peer in peers:
        findings += peer_findings(network, peer)
    findings += _voters(network, peers)
    findings += reach_findings(network, peers)
    findings += _damaged(network, peers)
    return findings


def reader_findings(network: NetworkFolder) -> list[Finding]:
    """Return what is found of a network that this machine was invited to read: which of its peers answer."""
    name = f"{network.name}: reading"
    try:
        reader = read_reader(network)
    except EnvironmentFault as fault:
        return [broken_by(name, fault)]
    apis = () if reader is None or network.exists() else reader.apis[:_APIS_MAX]
    findings = []
    for api in apis:
        with closing(ApiClient(api)) as client:
            try:
                client.request("GET", "/v1/health", timeout_s=_ANSWER_TIMEOUT_S)
                findings.append(Finding(name, "ok", f"{api} answers"))
            except ApiError as error:
                step = "start that peer with --api-bind, or ask for an invite of another: pair invite --role reader"
                findings.append(Finding(name, "warning", f"{api} does not: {error}", step))
    return findings


def _keys(network: NetworkFolder) -> Finding:
    name = f"{network.name}: keys"
    try:
        network.load()
        network.tokens()
        for peer in network.peers():
            peer.identity()
    except EnvironmentFault as fault:
        return broken_by(name, fault)
    return Finding(name, "ok", "private, whole, and they belong together")


def _lock(network: NetworkFolder) -> Finding:
    name = f"{network.name}: lock"
    try:
        network.lock().release()
    except FolderInUse as fault:
        return Finding(name, "warning", fault.cause, f"wait for it; if it hangs, end process {fault.pid}")
    except EnvironmentFault as fault:
        return broken_by(name, fault)
    return Finding(name, "ok", "nobody is starting or ending peers")


def _voters(network: NetworkFolder, peers: Iterable[LocalPeer]) -> list[Finding]:
    """Look at the list of voters of a network in *quorum* mode, and for voters of this machine that may not vote."""
    name = f"{network.name}: voters"
    try:
        voters = read_voters(network) if network.exists() and network.mode() == "quorum" else None
        if voters is None:
            return []
        here = {peer.id: peer for peer in peers if peer.id in voters.voters}
        silent = [peer for peer in here.values() if _lost_its_vote(peer)]
    except EnvironmentFault as fault:
        return [broken_by(name, fault)]
    known = ", ".join(here[voter].name if voter in here else voter[:12] for voter in voters.voters)
    return [
        Finding(name, "ok", f"version {voters.version}: {known}"),
        *(
            Finding(
                f"{network.name}: {peer.name}",
                "broken",
                "it lost its vote file, and votes never again before the admin readmits it",
                f"pair doctor --readmit {peer.name}, then pair restart {peer.name}",
            )
            for peer in silent
        ),
    ]


def _lost_its_vote(peer: LocalPeer) -> bool:
    from node.cli.readmitting import kept_promise

    promise = kept_promise(peer.folder.path)
    return promise is not None and promise.lost_in > 0


def _damaged(network: NetworkFolder, peers: Iterable[LocalPeer]) -> list[Finding]:
    """Tell of files that were set aside as damaged, and of those that the next start will read in full."""
    owners: dict[Path, str | None] = {network.path: None, **{peer.folder.path: peer.name for peer in peers}}
    damaged = sorted(path for folder in owners for path in folder.glob("*.damaged-*"))
    suspect = sorted(path for folder in owners for path in folder.glob("*.suspect"))
    name = f"{network.name}: damage"
    return [
        *(
            Finding(
                name,
                "warning",
                f"{path} was found damaged and set aside",
                "the peer went on without it; delete it when you need nothing from it",
            )
            for path in damaged[:_DAMAGED_SHOWN_MAX]
        ),
        *(
            Finding(
                name,
                "warning",
                f"the disk failed under {path.with_suffix('')}, which is read in full at the next start",
                f"check the disk, then pair restart {owners[path.parent]}",
            )
            for path in suspect[:_DAMAGED_SHOWN_MAX]
        ),
    ]
