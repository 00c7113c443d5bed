"""Checks of this machine: Python, packages, home folder, disk, multicast."""

import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Final

from bootstrap.files import store_error
from bootstrap.home import pair_home
from node.cli.findings import Finding, broken_by

_PYTHON_MIN: Final = (3, 11)
_PACKAGES: Final = (
    "aiohttp", "click", "cryptography", "kademlia", "msgspec", "prometheus_client", "rich", "rpcudp", "tinydb",
    "zeroconf",
)  # fmt: skip
_MEBIBYTE: Final = 2**20
_SPACE_BROKEN_BYTES: Final = 16 * _MEBIBYTE
_SPACE_WARNING_BYTES: Final = 512 * _MEBIBYTE
_MULTICAST: Final = ("224.0.0.251", 5353)
_DESCRIPTORS_MIN: Final = 1024


def machine_findings() -> list[Finding]:
    """Return what is found of this machine."""
    return [_python(), _packages(), _event_loop(), _home(), _disk(), _multicast(), _descriptors()]


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
    free = shutil.disk_usage(_existing(pair_home())).free
    text = f"{free // _MEBIBYTE} MiB are free"
    if free < _SPACE_BROKEN_BYTES:
        return Finding("disk", "broken", text, "free some space, or set PAIR_HOME to another disk")
    if free < _SPACE_WARNING_BYTES:
        return Finding("disk", "warning", text, "free some space before the disk is full")
    return Finding("disk", "ok", text)


def _multicast() -> Finding:
    """Look for a route of multicast; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way:
        try:
            way.connect(_MULTICAST)
        except OSError as error:
            return Finding(
                "multicast",
                "warning",
                f"no route ({error.strerror}): zeroconf finds no peers of other machines",
                "name a peer with --seed HOST:PORT, or add a route for 224.0.0.0/4",
            )
        return Finding("multicast", "ok", f"goes out from {way.getsockname()[0]}")


def _descriptors() -> Finding:
    limit = os.sysconf("SC_OPEN_MAX")
    if 0 <= limit < _DESCRIPTORS_MIN:
        return Finding("open files", "warning", f"at most {limit} for each process", f"ulimit -n {_DESCRIPTORS_MIN}")
    return Finding("open files", "ok", f"up to {limit} for each process")


def _existing(path: Path) -> Path:
    return next((folder for folder in (path, *path.parents) if folder.exists()), Path("/"))
