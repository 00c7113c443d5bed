"""Debian's Avahi on one host: what another program sees of our services, and services that somebody forged with it."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.hosts.hosts import Host
from tests.waiting import until_blocking

_PROGRAMS: Final = ("dbus-daemon", "avahi-daemon", "avahi-browse", "avahi-publish")

_BUS: Final = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/><allow own="*"/><allow send_type="method_call"/><allow send_type="signal"/>
    <allow send_destination="*"/><allow receive_sender="*"/>
  </policy>
</busconfig>
"""

_DAEMON: Final = """[server]
use-ipv6=no
allow-interfaces=eth0
[publish]
publish-workstation=no
publish-hinfo=no
"""

_START: Final = 'mount -t tmpfs tmpfs /run && mkdir /run/avahi-daemon && exec avahi-daemon -f "$0" "$@"'
"""In the mount namespace of ``ip netns exec``: the daemon's fixed places on the disk are this host's own."""

_FLAGS: Final = ("--no-drop-root", "--no-chroot", "--no-rlimits", "--no-proc-title")


class Avahi:
    """A bus and a daemon on one host, and what is published there."""

    def __init__(self, host: Host, folder: Path) -> None:
        self._inside = host.inside
        self._folder = folder
        self._socket = folder / "bus"
        self._environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self._socket}"}
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both; return when the daemon answers."""
        self._folder.mkdir()
        bus, daemon = self._folder / "bus.conf", self._folder / "avahi.conf"
        bus.write_text(_BUS.format(socket=self._socket))
        daemon.write_text(_DAEMON)
        self._run("dbus-daemon", f"--config-file={bus}", "--nofork", "--nopidfile")
        until_blocking(self._socket.exists, what="the bus")
        self._run(*self._inside, "sh", "-c", _START, str(daemon), *_FLAGS)
        until_blocking(lambda: self._browse().returncode == 0, what="an answer of avahi-daemon")

    def services(self) -> dict[str, dict[str, str]]:
        """Return what ``avahi-browse`` resolved: by instance name, where and with which TXT items."""
        found = {}
        for line in self._browse().stdout.decode(errors="replace").splitlines():
            kind, _, _, name, *rest = line.split(";")
            if kind == "=":
                _, _, _, address, port, text = rest
                items = dict(item.strip('"').partition("=")[::2] for item in text.split())
                found[name] = {"address": address, "port": port, **items}
        return found

    def publish(self, name: str, port: int, *texts: str, host: str | None = None) -> None:
        """Publish a service until the end."""
        where = ("-H", host) if host is not None else ()
        self._run(*self._inside, "avahi-publish", "-s", *where, name, "_pair._tcp", str(port), *texts)

    def publish_address(self, host: str, address: str) -> None:
        """Publish an address for a host name until the end."""
        self._run(*self._inside, "avahi-publish", "-a", "-R", host, address)

    def stop(self) -> None:
        """End everything, the daemon and its bus last."""
        for process in reversed(self._processes):
            process.terminate()
            process.wait(10)

    def _browse(self) -> subprocess.CompletedProcess[bytes]:
        command = [*self._inside, "avahi-browse", "-rpt", "_pair._tcp"]
        return subprocess.run(command, env=self._environment, capture_output=True, timeout=20, check=False)

    def _run(self, *command: str) -> None:
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._processes.append(subprocess.Popen(command, env=self._environment, stdin=subprocess.DEVNULL, **silent))


@contextlib.contextmanager
def avahi_on(host: Host, folder: Path) -> Iterator[Avahi]:
    """Give Avahi on ``host``; skip where it is not installed."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (apt-get install avahi-daemon avahi-utils dbus)")
    avahi = Avahi(host, folder)
    try:
        avahi.start()
        yield avahi
    finally:
        avahi.stop()
