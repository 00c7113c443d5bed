"""What somebody on the wire sees who has no key: nothing of what is said."""

import contextlib
import json
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

import pytest

from tests.faults.asking import delete, get, put
from tests.running import Home, running_home
from tests.waiting import until_blocking

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("capture")]

KEY: Final = "capture/key-that-is-easy-to-find"
SMALL: Final = b"a small value that travels in datagrams " * 10
LARGE: Final = b"a large value that travels under TLS " * 5000
_ETH_P_ALL: Final = 3
_LINK_HEADER_BYTES: Final = 14


class Capture:
    """All packets of the loopback from or to some ports, as anybody with the right to look sees them."""

    def __init__(self, ports: frozenset[int]) -> None:
        self.packets: list[bytes] = []
        self._ports = ports
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**25)
        self._socket.bind(("lo", 0))
        self._socket.settimeout(0.1)
        self._ending = False
        self._thread = threading.Thread(target=self._listen)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        self._thread.join(10)
        self._socket.close()

    @property
    def bytes(self) -> bytes:
        """Everything, packet after packet."""
        return b"\n".join(self.packets)

    def _listen(self) -> None:
        while not self._ending:
            with contextlib.suppress(TimeoutError):
                frame, link = self._socket.recvfrom(2**17)
                if link[2] == socket.PACKET_OUTGOING:
                    continue  # the loopback shows each packet on its way out and on its way in
                packet = frame[_LINK_HEADER_BYTES:]
                header = (packet[0] & 15) * 4 if packet else 0
                if packet[9:10] in (b"\x06", b"\x11") and self._ports & set(struct.unpack_from("!HH", packet, header)):
                    self.packets.append(packet)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Two peers."""
    with running_home(tmp_path_factory.mktemp("capture")) as home:
        home.up(2)
        yield home


def test_whoever_listens_without_the_key_learns_nothing_that_is_said(home: Home) -> None:
    """Keys, values, names, the network and its secrets: none of it is in what goes between peers."""
    try:
        probe = Capture(frozenset())
    except (AttributeError, PermissionError):
        pytest.skip("needs the right to listen on the loopback (root, Linux)")
    probe._socket.close()
    peers = home.peers()
    between = frozenset(int(row["address"].rpartition(":")[2]) for row in peers.values())
    apis = frozenset(int(row["api"].rpartition(":")[2]) for row in peers.values())
    with Capture(between) as wire, Capture(apis) as control:
        put(home, "peer-1", KEY, SMALL)
        put(home, "peer-1", KEY + "/large", LARGE)
        assert (get(home, "peer-2", KEY), get(home, "peer-2", KEY + "/large")) == (SMALL, LARGE)
        delete(home, "peer-1", KEY)
        home.ok("--timeout", "30", "restart", "peer-2")  # joining, electing, comparing tables and records
        assert get(home, "peer-2", KEY + "/large") == LARGE
        until_blocking(lambda: SMALL in control.bytes, what="the value on its way to its own user, in the clear")
        until_blocking(lambda: len(wire.bytes) > len(LARGE), what="the large value between the peers")

    secrets = json.loads((home.folder / "local" / "network.key").read_text())
    tokens = json.loads((home.folder / "local" / "tokens.json").read_text())
    telling = [KEY, SMALL[:40], LARGE[:40], *peers, "local", "0.1.0", *tokens.values(), *map(str, secrets.values())]
    telling += [bytes.fromhex(row["id"]) for row in peers.values()]
    seen = [text for text in map(_as_bytes, telling) if len(text) > 4 and text in wire.bytes]
    assert seen == []
    kinds = {packet[9] for packet in wire.packets}
    assert kinds == {socket.IPPROTO_UDP, socket.IPPROTO_TCP}
    if place := os.environ.get("PAIR_CAPTURE"):
        Path(place).write_text(shown(wire.packets))


def shown(packets: list[bytes]) -> str:
    """Return some packets of each kind as a hexadecimal dump."""
    lines = []
    names = {socket.IPPROTO_UDP: "UDP: sealed datagrams", socket.IPPROTO_TCP: "TCP: a link, then TLS 1.3"}
    for kind, name in names.items():
        lines.append(f"# {name}")
        for packet in [each for each in packets if each[9] == kind and len(each) > 60][:6]:
            start = (packet[0] & 15) * 4
            source, target = struct.unpack_from("!HH", packet, start)
            payload = packet[start + (8 if kind == socket.IPPROTO_UDP else (packet[start + 12] >> 4) * 4) :]
            lines.append(f"{source} > {target}, {len(payload)} bytes")
            for offset in range(0, min(len(payload), 128), 16):
                row = payload[offset : offset + 16]
                text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
                lines.append(f"  {offset:04x}  {row.hex(' '):47}  {text}")
    return "\n".join(lines) + "\n"


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
