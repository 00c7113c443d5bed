"""Checks of the peers of one network that live on this machine: processes, ports, versions, clocks, open files."""

import re
from contextlib import closing
from pathlib import Path
from typing import Final

from bootstrap.home import NetworkFolder
from bootstrap.ports import is_free
from node import __version__
from node.api_client import ApiClient, ApiError, ProblemAnswer
from node.cli.findings import Finding, FindingState, broken_by
from node.cli.launching import settings_of
from node.cli.peers import LocalPeer
from protocol.errors import EnvironmentFault

DESCRIPTORS_MIN: Final = 1024
"""Open files that a peer should be allowed: its own dozen, links, and the connections of members and clients."""

_DESCRIPTORS_LEFT_MIN: Final = 32
_ANSWER_TIMEOUT_S: Final = 2.0
_CLOCK_WARNING_S: Final = 5.0
_CLOCK_AHEAD: Final = re.compile(rb"^pair_clock_ahead_seconds (\S+)$", re.MULTILINE)
_FILES_MAX: Final = re.compile(r"^Max open files\s+(\d+)", re.MULTILINE)


def peer_findings(network: NetworkFolder, peer: LocalPeer) -> list[Finding]:
    """Return what is found of one peer, its state first."""
    name = f"{network.name}: {peer.name}"
    try:
        settings = settings_of(peer)
    except EnvironmentFault as fault:
        return [broken_by(name, fault)]
    match peer.state:
        case "running":
            state = _running(name, peer)
            return [state, *_version(name, network, peer), *_clock(name, network, peer), *_files(name, peer)]
        case "paused":
            return [Finding(name, "warning", f"process {peer.pid} is paused", f"pair resume {peer.name}")]
        case "crashed":
            log = peer.folder.path / "peer.log"
            return [Finding(name, "broken", f"it crashed; {log} may say why", f"pair restart {peer.name}")]
    if settings is not None:
        if not is_free(settings.bind, settings.port, udp=True):
            return [_taken(name, settings.port, "--port")]
        if not is_free(settings.api_bind, settings.api_port, udp=False):
            return [_taken(name, settings.api_port, "--api-port")]
    return [Finding(name, "ok", "stopped")]


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
    return Finding(name, "ok", f"process {peer.pid} runs and is ready" if peer.pid else "runs and is ready")


def _version(name: str, network: NetworkFolder, peer: LocalPeer) -> list[Finding]:
    """Compare the version that runs with the one that is installed."""
    try:
        with closing(ApiClient(str(peer.api), token=network.tokens().read)) as client:
            runs = client.request("GET", "/v1/status", timeout_s=_ANSWER_TIMEOUT_S).document().get("version")
    except (ApiError, EnvironmentFault):
        return []  # told as its state, or with the keys
    if runs == __version__:
        return []
    detail = f"it runs version {runs}, but {__version__} is installed"
    return [Finding(f"{name} version", "warning", detail, f"pair restart {peer.name}")]


def _clock(name: str, network: NetworkFolder, peer: LocalPeer) -> list[Finding]:
    """Compare the wall clock that a peer reads with the time that its members agree on."""
    try:
        with closing(ApiClient(str(peer.api), token=network.tokens().read)) as client:
            page = client.request("GET", "/metrics", timeout_s=_ANSWER_TIMEOUT_S).body
    except (ApiError, EnvironmentFault):
        return []
    found = _CLOCK_AHEAD.search(page)
    ahead_s = float(found[1]) if found else 0.0
    if abs(ahead_s) <= _CLOCK_WARNING_S:
        return []
    detail = f"its clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} the time of the network"
    step = "set the clock of this machine, for example with NTP; the network goes on with its own time meanwhile"
    return [Finding(f"{name} clock", "warning", detail, step)]


def _files(name: str, peer: LocalPeer) -> list[Finding]:
    """Look how many files the process may open and how many it has open, where the system shows it."""
    if peer.pid is None:
        return []
    try:
        limit = _FILES_MAX.search(Path(f"/proc/{peer.pid}/limits").read_text())
        used = sum(1 for _ in Path(f"/proc/{peer.pid}/fd").iterdir())
    except OSError:
        return []
    if limit is None or int(limit[1]) >= DESCRIPTORS_MIN:
        return []
    allowed = int(limit[1])
    state: FindingState = "broken" if used + _DESCRIPTORS_LEFT_MIN > allowed else "warning"
    step = f"ulimit -n {DESCRIPTORS_MIN}, then pair stop {peer.name} && pair start --detach --name {peer.name}"
    return [Finding(f"{name} open files", state, f"{used} are open, and only {allowed} are allowed", step)]
