"""``doctor --bundle``: an archive for whoever helps, with what there is to know of this machine and no secret in it.

It holds versions, the findings of ``doctor``, settings, each running peer's own view, the ends of the logs, and names,
sizes and modes of the files. It never holds keys, tokens, invites, records or their keys.
"""

import importlib.metadata
import io
import json
import os
import platform
import resource
import stat
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

from bootstrap.files import os_errors
from bootstrap.home import NetworkFolder, pair_home
from bootstrap.own_address import machine_addresses
from node import __version__
from node.api_client import ApiClient, ApiError
from node.cli.findings import Finding
from node.cli.peers import LocalPeer, local_peers
from node.cli.scrubbing import Scrubber, is_secret_file
from protocol.errors import EnvironmentFault

_PACKAGES: Final = (
    "aiohttp", "click", "cryptography", "kademlia", "msgspec", "prometheus-client", "rich", "rpcudp", "tinydb",
    "uvloop", "zeroconf",
)  # fmt: skip
_LOG_TAIL_BYTES: Final = 2**18
_FILES_MAX: Final = 5000
_ANSWER_TIMEOUT_S: Final = 2.0
_VIEWS: Final = ("/v1/status", "/v1/members", "/v1/leader", "/metrics")
_SETTINGS: Final = ("start.json", "run.json")
_LOGS: Final = ("peer.log", "peer.log.1")


def write_bundle(path: Path, networks: Sequence[NetworkFolder], findings: Sequence[Finding]) -> None:
    """Write the archive, which only its owner may read.

    Raises:
        StoreError: It cannot be written, or there is a file at ``path`` already.
    """
    scrubber = Scrubber(networks)
    with os_errors(f"write {path}"):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
                for name, content in _entries(networks, findings):
                    _add(archive, f"pair-doctor/{name}", scrubber.clean(content))
        except BaseException:
            path.unlink(missing_ok=True)  # half an archive is none
            raise


def bundle_name() -> str:
    """Return the name of an archive that is made now."""
    return time.strftime("pair-doctor-%Y%m%dT%H%M%SZ.tar.gz", time.gmtime())


def _entries(networks: Sequence[NetworkFolder], findings: Sequence[Finding]) -> Iterator[tuple[str, bytes]]:
    yield "doctor.json", _json([finding.document() for finding in findings])
    yield "machine.json", _json(_machine())
    for network in networks:
        yield f"{network.name}/files.txt", _files(network.path)
        try:
            peers = local_peers(network)
        except EnvironmentFault as fault:
            yield f"{network.name}/peers.txt", str(fault).encode()
            continue
        for peer in peers:
            for name, content in _peer_entries(network, peer):
                yield f"{network.name}/{peer.name}/{name}", content


def _peer_entries(network: NetworkFolder, peer: LocalPeer) -> Iterator[tuple[str, bytes]]:
    yield "ps.json", _json(peer.document())
    for name in _SETTINGS:
        with suppress(OSError):
            yield name, _tail(peer.folder.path / name)
    for name in _LOGS:
        with suppress(OSError):
            yield name, _tail(peer.folder.path / name)
    if peer.state != "running":
        return
    for route in _VIEWS:
        try:
            with closing(ApiClient(str(peer.api), token=network.tokens().read)) as client:
                content = client.request("GET", route, timeout_s=_ANSWER_TIMEOUT_S).body
        except (ApiError, EnvironmentFault) as error:
            content = f"no answer: {error}\n".encode()
        yield route.removeprefix("/v1").strip("/") + (".txt" if route == "/metrics" else ".json"), content


def _machine() -> dict[str, Any]:
    versions = {"pair": __version__, "python": sys.version}
    for package in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": versions,
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "load": os.getloadavg(),
        "addresses": machine_addresses(),
        "open_files_max": resource.getrlimit(resource.RLIMIT_NOFILE),
        "home": str(pair_home()),
        "environment": sorted(name for name in os.environ if name.startswith("PAIR_")),
    }


def _files(folder: Path) -> bytes:
    """Return mode, size, time and name of each file of a network, one a line."""
    lines = []
    for path in sorted(folder.rglob("*"))[:_FILES_MAX]:
        try:
            status = path.lstat()
        except OSError as error:
            lines.append(f"? {error.strerror} {path.relative_to(folder)}")
            continue
        changed = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(status.st_mtime))
        lines.append(f"{stat.filemode(status.st_mode)} {status.st_size:>12} {changed} {path.relative_to(folder)}")
    return ("\n".join(lines) + "\n").encode(errors="replace")


def _tail(path: Path) -> bytes:
    """Return the last part of a file."""
    assert not is_secret_file(path), "no file that holds secrets is ever read for an archive"
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
        return file.read(_LOG_TAIL_BYTES)


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=2, ensure_ascii=False).encode(errors="replace") + b"\n"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(content), 0o600, int(time.time())
    archive.addfile(entry, io.BytesIO(content))
