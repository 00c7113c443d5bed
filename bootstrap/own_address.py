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

    A machine without a way to anywhere, on a network that has no router, may still have one address only.

    Raises:
        ConfigError: There is no way, and no address or more than one.
    """
    on_the_way = _address_towards((*contacts, *_ANYWHERE))
    if on_the_way is not None:
        return on_the_way
    found = [host for host in machine_addresses() if _is_elsewhere(host) and ":" not in host]
    if len(found) == 1:
        return found[0]
    cause = f"has several addresses ({', '.join(found)})" if found else "has no address that others reach"
    raise ConfigError(
        f"this machine {cause}, and no route that would tell which one to use",
        next_step="name it with --advertise ADDR",
    )


def present_address(current: str, contacts: Sequence[Address]) -> str:
    """Return ``current`` for as long as this machine has it, else the address on the way to the contacts.

    While there is no way, as between two networks, the answer is still ``current``.
    """
    if is_own(current):
        return current
    return _address_towards((*contacts, *_ANYWHERE)) or current


def is_own(host: str) -> bool:
    """Return whether an interface of this machine has the address ``host``."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
        return True


def machine_addresses() -> list[str]:
    """Return the IP addresses of all interfaces."""
    import ifaddr

    found = [ip.ip if ip.is_IPv4 else ip.ip[0] for adapter in ifaddr.get_adapters() for ip in adapter.ips]
    return [str(host) for host in found]


def reachable_at(bind: str, advertised: str, port: int) -> list[Address]:
    """Return where others on the network may reach a port that listens on ``bind``, the advertised address first.

    A port that listens on all interfaces has an address on each; the loopback and addresses of one link are left out.
    """
    hosts = [advertised]
    if is_unspecified(bind):
        hosts += [host for host in machine_addresses() if _is_elsewhere(host) and (":" in bind or ":" not in host)]
    return [Address(host, port) for host in dict.fromkeys(hosts)]


def _address_towards(contacts: Sequence[Address]) -> str | None:
    """Ask the system for the way to the first contact that has one; connecting a UDP socket sends nothing."""
    for contact in contacts:
        family = socket.AF_INET6 if ":" in contact.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as way:
            try:
                way.connect((contact.host, contact.port))
            except OSError:
                continue
            host = str(way.getsockname()[0])
            if not is_unspecified(host):
                return host
    return None


def _is_elsewhere(host: str) -> bool:
    address = ipaddress.ip_address(host)
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)
