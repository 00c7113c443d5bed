"""A switch in user space, with a plug in each namespace: frames between two hosts are delayed, lost and filtered.

    python -m tests.hosts.switch SEED NAME=NAMESPACE …        in the namespace that holds the switch

It makes a TAP device for each host and moves it there as ``eth0``, then reads orders, one JSON object a line, and
answers each with a line ``done``:

    {"from": "ada", "to": "bob", "delay_ms": 40, "jitter_ms": 10, "loss": 0.2, "drop": ["udp 7400"]}

An order holds for one direction of one link, until the next for the same. All chance comes from the one seed.
"""

import contextlib
import dataclasses
import fcntl
import heapq
import itertools
import json
import os
import random
import selectors
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pytest

from tests.faults.cut import Cables

_TUNSETIFF: Final = 0x400454CA
_TAP_WITHOUT_HEADER: Final = 0x1002
_FRAME_SIZE_MAX: Final = 2048
_WAITING_MAX: Final = 10_000
_PROTOCOLS: Final = {"tcp": 6, "udp": 17}


@dataclasses.dataclass
class Quality:
    """How one direction of one link treats frames."""

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    drop: Sequence[str] = ()
    """``PROTOCOL PORT``: frames to that port are lost, as behind a firewall that says nothing."""


class Switch:
    """Owns the TAP devices; one loop moves frames between them."""

    def __init__(self, seed: int, plugs: dict[str, str]) -> None:
        self._random = random.Random(seed)
        self._plugs = {name: _plug_in(number, namespace) for number, (name, namespace) in enumerate(plugs.items())}
        self._links: dict[tuple[str, str], Quality] = {}
        self._where: dict[bytes, str] = {}
        self._waiting: list[tuple[float, int, int, bytes]] = []
        self._numbers = itertools.count()

    def run(self) -> None:
        """Move frames until standard input ends."""
        selector = selectors.DefaultSelector()
        selector.register(0, selectors.EVENT_READ, None)
        for name, plug in self._plugs.items():
            selector.register(plug, selectors.EVENT_READ, name)
        while True:
            pause_s = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else None
            for key, _ in selector.select(pause_s):
                if key.data is not None:
                    self._forward(key.data, os.read(key.fd, _FRAME_SIZE_MAX))
                elif not self._obey(os.read(0, 65536)):
                    return
            while self._waiting and self._waiting[0][0] <= time.monotonic():
                _, _, plug, frame = heapq.heappop(self._waiting)
                with contextlib.suppress(OSError):  # a device that is not up yet
                    os.write(plug, frame)

    def _forward(self, source: str, frame: bytes) -> None:
        self._where[frame[6:12]] = source
        known = self._where.get(frame[:6])
        for target in [known] if known is not None else self._plugs:
            quality = self._links.get((source, target), Quality())
            if target == source or self._random.random() < quality.loss or _is_dropped(frame, quality.drop):
                continue
            delay_s = (quality.delay_ms + self._random.uniform(0, quality.jitter_ms)) / 1000
            if len(self._waiting) < _WAITING_MAX:
                ready = (time.monotonic() + delay_s, next(self._numbers), self._plugs[target], frame)
                heapq.heappush(self._waiting, ready)

    def _obey(self, orders: bytes) -> bool:
        for line in orders.splitlines():
            order = json.loads(line)
            link = order.pop("from"), order.pop("to")
            self._links[link] = Quality(**order)
            print("done", flush=True)
        return bool(orders)


def _plug_in(number: int, namespace: str) -> int:
    """Make a TAP device, move it into ``namespace`` as ``eth0`` and return the end that stays here."""
    plug, name = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK), f"tap{number}"
    fcntl.ioctl(plug, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _TAP_WITHOUT_HEADER))
    subprocess.run(["ip", "link", "set", name, "netns", namespace, "name", "eth0"], check=True)
    return plug


def _is_dropped(frame: bytes, drop: Sequence[str]) -> bool:
    if not drop or frame[12:14] != b"\x08\x00":
        return False
    ports = 14 + 4 * (frame[14] & 15)
    found = (frame[23], int.from_bytes(frame[ports + 2 : ports + 4], "big"))
    return any((_PROTOCOLS[kind], int(port)) == found for kind, port in (rule.split() for rule in drop))


class Switched(Cables):
    """Hosts on such a switch instead of cables and a bridge."""

    def __init__(self, names: Sequence[str], *, seed: int) -> None:
        super().__init__(names)
        self._seed = seed
        self._process: subprocess.Popen[str] | None = None

    def make(self) -> None:
        self._namespace(self._switch)
        for name in self.names:
            self._namespace(self.namespace(name))
        plugs = [f"{name}={self.namespace(name)}" for name in self.names]
        command = [*("ip", "netns", "exec", self._switch), sys.executable, "-m", "tests.hosts.switch", str(self._seed)]
        self._process = subprocess.Popen(
            [*command, *plugs], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
        )
        self._await_done()
        for name in self.names:
            self._bring_up(name)

    def degrade(self, source: str, target: str, **quality: Any) -> None:
        """Give one direction of a link a quality (``Quality``); the other direction stays as it is."""
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(json.dumps({"from": source, "to": target, **quality}) + "\n")
        self._process.stdin.flush()
        self._await_done()

    def degrade_all(self, **quality: Any) -> None:
        """Give every link the same quality, in both directions."""
        for source, target in itertools.permutations(self.names, 2):
            self.degrade(source, target, **quality)

    def remove(self) -> None:
        if self._process is not None:
            self._process.communicate(timeout=10)  # ends with its standard input
        super().remove()

    def _await_done(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        if self._process.stdout.readline() != "done\n":
            raise OSError("no TAP devices")


@contextlib.contextmanager
def switched(names: Sequence[str], *, seed: int) -> Iterator[Switched]:
    """Give namespaces on a switch in user space; skip where the machine does not allow any."""
    made = Switched(names, seed=seed)
    try:
        try:
            made.make()
        except (subprocess.CalledProcessError, OSError) as error:
            pytest.skip(f"needs the right to make network namespaces and TAP devices (root): {error}")
        yield made
    finally:
        made.remove()


if __name__ == "__main__":
    switch = Switch(int(sys.argv[1]), dict(cast("tuple[str, str]", plug.split("=")) for plug in sys.argv[2:]))
    print("done", flush=True)
    switch.run()
