"""Configured contacts: ``HOST:PORT`` as a person writes it, resolved to IP addresses.

The core and its member table know IP addresses only, so names are resolved here, once, before the join.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol import limits
from protocol.errors import ConfigError
from protocol.statements import Address

SEEDS_MAX: Final = 64
"""Configured contacts of one peer; one that answers is enough."""

ADDRESSES_PER_SEED_MAX: Final = 8
"""Addresses taken from one name, which may stand for a whole service of containers."""

RESOLVE_TIMEOUT_S: Final = 5.0
"""A resolver that has not answered by then will not help a peer that should start within seconds."""

_NEXT_STEP: Final = "write HOST:PORT, for example 192.0.2.7:7400, [2001:db8::7]:7400 or peer-1.example:7400"
_HOST_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?\Z")
_PORT: Final = re.compile(r"[0-9]{1,5}\Z")
_DOTTED_DIGITS: Final = re.compile(r"[0-9.]+\Z")


@dataclass(frozen=True, slots=True)
class Seed:
    """A contact as configured, not yet resolved."""

    host: str
    """An IP address without brackets, or a host name."""

    port: int


def parse_seed(text: str) -> Seed:
    """Return the seed that ``text`` describes: ``IPv4:PORT``, ``[IPv6]:PORT`` or ``NAME:PORT``.

    Raises:
        ConfigError: It is none of these; the error quotes it and says how to write one.
    """
    host, colon, port = text.strip().rpartition(":")
    if not colon or not host:
        raise ConfigError(f"the seed {text!r} has no port", next_step=_NEXT_STEP)
    if not _PORT.match(port) or not 1 <= int(port) <= 65535:
        raise ConfigError(f"the seed {text!r} has no port from 1 to 65535", next_step=_NEXT_STEP)
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ip(host, version=6):
            raise ConfigError(f"the seed {text!r} has no IPv6 address in its brackets", next_step=_NEXT_STEP)
    elif ":" in host:
        raise ConfigError(f"the seed {text!r} has an IPv6 address without brackets", next_step=_NEXT_STEP)
    elif _DOTTED_DIGITS.match(host):
        if not _is_ip(host, version=4):
            raise ConfigError(f"the seed {text!r} has no valid IPv4 address", next_step=_NEXT_STEP)
    elif len(host) > limits.HOST_SIZE_MAX or not _HOST_NAME.match(host):
        raise ConfigError(f"the seed {text!r} has no valid host name", next_step=_NEXT_STEP)
    return Seed(host, int(port))


async def resolve_seeds(texts: Sequence[str], *, timeout_s: float = RESOLVE_TIMEOUT_S) -> tuple[Address, ...]:
    """Return the addresses of all seeds, without repeats, in the order given.

    Names are looked up at once, side by side. One name that fails is an error even when others resolve: a
    mistyped seed should be seen when the peer starts, not when the other seed is down.

    Raises:
        ConfigError: A seed cannot be read or resolved, or there are too many.
    """
    if len(texts) > SEEDS_MAX:
        raise ConfigError(
            f"there are {len(texts)} seeds", next_step=f"give at most {SEEDS_MAX}; one that answers is enough"
        )
    seeds = [parse_seed(text) for text in texts]
    # Collected rather than raised at the first, so that no lookup outlives this call.
    results = await asyncio.gather(*(_resolve(seed, timeout_s=timeout_s) for seed in seeds), return_exceptions=True)
    found: dict[Address, None] = {}
    for result in results:
        if isinstance(result, BaseException):
            raise result
        found.update(dict.fromkeys(result))
    return tuple(found)


async def _resolve(seed: Seed, *, timeout_s: float) -> list[Address]:
    """Return the addresses of one seed; an IP address needs no resolver."""
    if _is_ip(seed.host):
        return [Address(seed.host, seed.port)]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            answers = await loop.getaddrinfo(seed.host, seed.port, type=socket.SOCK_DGRAM)
    except TimeoutError as error:
        raise ConfigError(
            f"the seed {seed.host}:{seed.port} did not resolve within {timeout_s:g} s",
            next_step="check the name service, or give an IP address",
        ) from error
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"the seed {seed.host}:{seed.port} does not resolve: {error}",
            next_step="check the spelling of the name, or give an IP address",
        ) from error
    hosts = dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers)
    return [Address(host, seed.port) for host in list(hosts)[:ADDRESSES_PER_SEED_MAX]]


def _is_ip(text: str, *, version: int | None = None) -> bool:
    """Return whether ``text`` is an IP address (of ``version``, when given)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return version is None or address.version == version
