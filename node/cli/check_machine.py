"""Checks of this machine: Python, packages, home folder, disk, multicast."""

import importlib.util
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from bootstrap.files import store_error
from bootstrap.home import list_networks, pair_home
from node.cli.check_multicast import multicast_finding
from node.cli.check_peers import DESCRIPTORS_MIN
from node.cli.findings import Finding, broken_by
from node.storage.space import reserve_bytes
from protocol.errors import EnvironmentFault

_PYTHON_MIN: Final = (3, 11)
_PACKAGES: Final = (
    "aiohttp", "click", "cryptography", "kademlia", "msgspec", "prometheus_client", "rich", "rpcudp", "tinydb",
    "zeroconf",
)  # fmt: skip
_MEBIBYTE: Final = 2**20


def machine_findings() -> list[Finding]:
    """Return what is found of this machine."""
    return [_python(), _packages(), _event_loop(), _home(), _disk(), multicast_finding(), _descriptors()]


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < _PYTHON_MIN:
        return Finding("python", "broken", f"Python {version}", "install Python 3.11 or later")
    return Finding("python", "ok", f"Python {version}")


def _packages() -> Finding:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        return Finding("packages", "broken", f"missing: {', '.join(missing)}", "install Pair again: python3 run.py")
    return Finding("packages", "ok", f"all {len(_PACKAGES)} are installed")


def _event_loop() -> Finding:
    if importlib.util.find_spec("uvloop") is None:
        return Finding("event loop", "warning", "uvloop is missing: datagrams are slower", "pip install uvloop")
    return Finding("event loop", "ok", "uvloop")


def _home() -> Finding:
    home = pair_home()
    try:
        with tempfile.TemporaryFile(dir=_existing(home)):
            pass
    except OSError as error:
        return broken_by("home folder", store_error(error, f"write into {home}"))
    return Finding("home folder", "ok", f"{home} is writable" if home.exists() else f"{home} can be created")


def _disk() -> Finding:
    """Look at the disk of the home folder, or at the fullest one, where peers have disks of their own."""
    folders = [_existing(pair_home())]
    with suppress(EnvironmentFault):  # told by other checks
        folders += [peer.path for network in list_networks(pair_home()) for peer in network.peers()]
    disks = [(shutil.disk_usage(folder), folder) for folder in folders]
    disk, folder = min(disks, key=lambda found: found[0].free)
    reserve = reserve_bytes(disk.total)
    text = f"{disk.free // _MEBIBYTE} of {disk.total // _MEBIBYTE} MiB are free under {folder}"
    if disk.free < reserve:
        text += f"; peers store nothing more while less than {reserve // _MEBIBYTE} MiB are"
        return Finding("disk", "broken", text, "free some space, or set PAIR_HOME to another disk")
    if disk.free < 2 * reserve:
        text += f"; peers store nothing more once less than {reserve // _MEBIBYTE} MiB are"
        return Finding("disk", "warning", text, "free some space, or set PAIR_HOME to another disk")
    return Finding("disk", "ok", text)


def _descriptors() -> Finding:
    limit = os.sysconf("SC_OPEN_MAX")
    if 0 <= limit < DESCRIPTORS_MIN:
        return Finding("open files", "warning", f"at most {limit} for each process", f"ulimit -n {DESCRIPTORS_MIN}")
    return Finding("open files", "ok", f"up to {limit} for each process")


def _existing(path: Path) -> Path:
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
