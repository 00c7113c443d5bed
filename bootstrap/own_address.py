"""Which address of this machine others can reach, for a peer that listens on all of them."""

import ipaddress
import socket
from collections.abc import Sequence
from typing import Final

from protocol.errors import ConfigError
from protocol.statements import Address

_ANYWHERE: Final = (Address("192.0.2.1", 9), Address("2001:db8::1", 9))
"""Addresses that nobody has (RFC 5737, RFC 3849): the way to them is the way to everywhere."""


def is_unspecified(host: str) -> bool:
    """Return whether ``host`` means all interfaces."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def own_address(contacts: Sequence[Address]) -> str:
    """Return the IP address that this machine has on the way to the first contact it has a way to, else to anywhere.

    Nothing is sent: connecting a UDP socket only asks the system for the way.

    Raises:
        ConfigError: There is no way to anywhere.
    """
    for contact in (*contacts, *_ANYWHERE):
        family = socket.AF_INET6 if ":" in contact.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            try:
                way.connect((contact.host, contact.port))
            except OSError:
                continue
            host = str(way.getsockname()[0])
            if not is_unspecified(host):
                return host
    raise ConfigError(
        "this machine has no route, so the address that others reach it at is unknown",
        next_step="name it with --advertise ADDR",
    )
