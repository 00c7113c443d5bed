"""Whether multicast DNS works on this machine: a question of our own must come back on an interface.

A route proves nothing: on a network without a router there is none, and zeroconf works; behind a filter there is one,
and it does not. The question is sent to everybody on the network, as each browser's is, and names a service that nobody
offers.
"""

import os
import select
import socket
import time
from typing import Final

from bootstrap.own_address import machine_addresses
from node.cli.findings import Finding

_GROUP: Final = "224.0.0.251"
_PORT: Final = 5353
_COMES_BACK_S: Final = 0.5
"""The machine hands it to itself, whatever the network does with it."""

_INTERFACES_MAX: Final = 8
_NEXT_STEP: Final = "let UDP port 5353 and 224.0.0.251 through, or name a peer with --seed HOST:PORT"


def multicast_finding() -> Finding:
    """Try each interface that leads to other machines, or the loopback where there is none."""
    hosts = [host for host in machine_addresses() if ":" not in host]
    elsewhere = [host for host in hosts if not host.startswith("127.")]
    outcomes = {host: _failure(host) for host in (elsewhere or hosts)[:_INTERFACES_MAX]}
    works = [host for host, failure in outcomes.items() if failure is None]
    if works:
        return Finding("multicast", "ok", f"works on {', '.join(works)}")
    causes = "; ".join(f"{host}: {failure}" for host, failure in outcomes.items()) or "no interface has an IPv4 address"
    return Finding("multicast", "warning", f"zeroconf finds nobody ({causes})", _NEXT_STEP)


def _failure(host: str) -> str | None:
    """Return why no question came back on the interface of ``host``; None when one did."""
    question = _question()
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
            for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                ear.setsockopt(socket.SOL_SOCKET, option, 1)
            ear.bind(("", _PORT))
            interface = socket.inet_aton(host)
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(_GROUP) + interface)
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
            ear.sendto(question, (_GROUP, _PORT))
            ends = time.monotonic() + _COMES_BACK_S
            while (left_s := ends - time.monotonic()) > 0:
                if select.select([ear], [], [], left_s)[0] and ear.recv(9000) == question:
                    return None
    except OSError as error:
        return error.strerror or str(error)
    return "what is sent does not come back: it is filtered"


def _question() -> bytes:
    """Return a question for a service of a random name (RFC 1035, section 4.1)."""
    header = bytes((0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0))
    labels = (os.urandom(8).hex().encode(), b"_pair", b"_tcp", b"local")
    name = b"".join(bytes([len(label)]) + label for label in labels)
    pointer_in_internet = bytes((0, 12, 0, 1))
    return header + name + b"\0" + pointer_in_internet
