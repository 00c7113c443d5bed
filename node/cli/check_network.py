"""Checks of one network on this machine: keys, locks, ports, each peer, clocks, damaged files."""

import email.utils
import time
from collections.abc import Iterable
from contextlib import closing
from typing import Any, Final

from bootstrap.home import NetworkFolder
from bootstrap.locks import FolderInUse
from bootstrap.ports import is_free
from bootstrap.voters import read_voters
from node.api_client import ApiClient, ApiError, ProblemAnswer
from node.cli.findings import Finding, broken_by
from node.cli.launching import settings_of
from node.cli.peers import LocalPeer, local_peers
from protocol.errors import EnvironmentFault

_ANSWER_TIMEOUT_S: Final = 2.0
_CLOCK_WARNING_S: Final = 5.0
_CLOCKS_MAX: Final = 16
"""Members of other machines whose clock is looked at."""

_DAMAGED_SHOWN_MAX: Final = 20


def network_findings(network: NetworkFolder) -> list[Finding]:
    """Return what is found of ``network``."""
    findings = [_keys(network), _lock(network)]
    try:
        peers = local_peers(network)
    except EnvironmentFault as fault:
        return [*findings, broken_by(f"{network.name}: peers", fault)]
    findings += [_peer(network, peer) for peer in peers]
    findings += _voters(network, peers)
    findings += _clocks(network, peers)
    findings += _damaged(network, peers)
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


def _peer(network: NetworkFolder, peer: LocalPeer) -> Finding:
    name = f"{network.name}: {peer.name}"
    try:
        settings = settings_of(peer)
    except EnvironmentFault as fault:
        return broken_by(name, fault)
    match peer.state:
        case "running":
            return _running(name, peer)
        case "paused":
            return Finding(name, "warning", f"process {peer.pid} is paused", f"pair resume {peer.name}")
        case "crashed":
            log = peer.folder.path / "peer.log"
            return Finding(name, "broken", f"it crashed; {log} may say why", f"pair restart {peer.name}")
    if settings is not None:
        if not is_free(settings.bind, settings.port, udp=True):
            return _taken(name, settings.port, "--port")
        if not is_free(settings.api_bind, settings.api_port, udp=False):
            return _taken(name, settings.api_port, "--api-port")
    return Finding(name, "ok", "stopped")


def _taken(name: str, port: int, option: str) -> Finding:
    return Finding(
        name, "warning", f"stopped; its port {port} is taken by another program", f"end that, or start with {option}"
    )


def _running(name: str, peer: LocalPeer) -> Finding:
    with closing(ApiClient(str(peer.api))) as client:
        try:
            client.request("GET", "/v1/health", timeout_s=_ANSWER_TIMEOUT_S)
        except ProblemAnswer as error:
            return Finding(name, "warning", f"runs, but is not ready: {error}", f"pair status --peer {peer.name}")
        except ApiError as error:
            return Finding(name, "broken", f"runs, but does not answer: {error}", f"pair restart {peer.name}")
    return Finding(name, "ok", f"process {peer.pid} runs and is ready")


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


def _clocks(network: NetworkFolder, peers: Iterable[LocalPeer]) -> list[Finding]:
    """Compare the clock with those of members on other machines, as far as their APIs can be reached."""
    name = f"{network.name}: clock"
    here = {peer.api for peer in peers}
    offsets = [
        (str(row.get("name")), offset)
        for row in [row for row in _members(network, peers) if row.get("api") not in here][:_CLOCKS_MAX]
        if (offset := _offset_s(str(row.get("api")))) is not None
    ]
    if not offsets:
        return []
    worst_name, worst = max(offsets, key=lambda pair: abs(pair[1]))
    if abs(worst) > _CLOCK_WARNING_S:
        text = f"{abs(worst):.0f} s {'behind' if worst > 0 else 'ahead of'} that of {worst_name}"
        return [Finding(name, "warning", text, "let both machines set their clocks, for example with NTP")]
    return [Finding(name, "ok", f"as those of {len(offsets)} members elsewhere")]


def _members(network: NetworkFolder, peers: Iterable[LocalPeer]) -> list[dict[str, Any]]:
    for peer in peers:
        if peer.state != "running":
            continue
        try:
            with closing(ApiClient(str(peer.api), token=network.tokens().read)) as client:
                rows = client.request("GET", "/v1/members", timeout_s=_ANSWER_TIMEOUT_S).document()
        except (ApiError, EnvironmentFault):
            continue
        return [row for row in rows if row.get("state") == "alive"]
    return []


def _offset_s(api: str) -> float | None:
    """Return how far the clock there is ahead of ours; None when it cannot be seen."""
    try:
        with closing(ApiClient(api)) as client:
            answer = client.request("GET", "/v1/health", timeout_s=_ANSWER_TIMEOUT_S)
        return email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp() - time.time()
    except (ApiError, ValueError):
        return None


def _damaged(network: NetworkFolder, peers: Iterable[LocalPeer]) -> list[Finding]:
    folders = [network.path, *(peer.folder.path for peer in peers)]
    found = sorted(path for folder in folders for path in folder.glob("*.damaged-*"))
    return [
        Finding(
            f"{network.name}: damage",
            "warning",
            f"{path} was found damaged and set aside",
            "the peer went on without it; delete it when you need nothing from it",
        )
        for path in found[:_DAMAGED_SHOWN_MAX]
    ]
