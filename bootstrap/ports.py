"""Which ports the peers of one machine use: a block per network, peer-i at base + i, kept from run to run."""

import os
import socket
import tempfile
import time
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from bootstrap.locks import FolderInUse, FolderLock
from protocol.errors import ConfigError, EnvironmentFault

PEER_BASE: Final = 7400
API_BASE: Final = 8400

BLOCK_SIZE: Final = 100
"""Distance between two blocks that are tried."""

NEIGHBOURS_LOOKED_AT: Final = 10
"""Ports of a block that must be free, however few are needed: a block whose first peer is down just now belongs to
another network, which will want that port again."""

_SINGLE_PORTS_TRIED_MAX: Final = 1000

_LAST_BASE: Final = 32_000
"""Beyond it systems hand ports out to whoever connects (the ephemeral range)."""

PORT_MAX: Final = 65_535

_LOCK_PAUSE_S: Final = 0.01

Free: TypeAlias = Callable[[int], bool]


class PortTaken(EnvironmentFault):
    """A port that is needed is used by another program.

    Attributes:
        port: Which.
    """

    def __init__(self, port: int, *, next_step: str) -> None:
        super().__init__(f"port {port} is taken by another program", next_step=next_step)
        self.port = port


def is_free(host: str, port: int, *, udp: bool) -> bool:
    """Return whether a TCP listener (and, with ``udp``, a UDP socket) could be bound to ``host`` and ``port`` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    kinds = (socket.SOCK_STREAM, socket.SOCK_DGRAM) if udp else (socket.SOCK_STREAM,)
    for kind in kinds:
        with socket.socket(family, kind) as trial:
            if kind == socket.SOCK_STREAM:
                # As the servers do: a connection that has just ended does not make a port taken.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                trial.bind((host, port))
            except OSError:
                return False
    return True


@contextmanager
def ports_locked(*, timeout_s: float) -> Iterator[Sequence[FolderLock]]:
    """Hold the right of this user to look for free ports and bind them; wait for another program that has it.

    Networks that start at the same time from different folders would otherwise find the same block free. It is
    only a help: without it (the folder for temporary files cannot be used, or time is up) nothing is yielded.
    """
    path = Path(tempfile.gettempdir()) / f"pair-ports-{os.getuid()}.lock"
    ends = time.monotonic() + timeout_s
    while True:
        try:
            lock = FolderLock(path, purpose="another network is starting", next_step="wait until it runs")
        except FolderInUse:
            if time.monotonic() < ends:
                time.sleep(_LOCK_PAUSE_S)
                continue
        except EnvironmentFault:
            pass
        else:
            with lock:
                yield [lock]
            return
        yield []
        return


def assign_ports(
    *,
    count: int,
    base: int | None,
    first_base: int,
    kept: Mapping[int, int],
    running: Collection[int],
    free: Free,
    avoid: Container[int],
    option: str,
) -> dict[int, int]:
    """Return the port of each of peers 1 to ``count``.

    Args:
        base: The base that was asked for; None keeps what was, or finds the first free block.
        first_base: Where the search begins.
        kept: Port of each numbered peer in its present or last run.
        running: Numbers of the peers that run: their ports cannot change.
        free: Says whether a port can be had.
        avoid: Ports that are kept for others; not used for a new block.
        option: Name of the option that chooses the base, for messages.

    Raises:
        ConfigError: ``base`` contradicts a running peer, or leaves no room.
        PortTaken: A port that was asked for, or that the running peers fix, is not to be had.
    """
    numbers = range(1, count + 1)
    old_base = next((kept[number] - number for number in sorted(kept)), None)
    if base is None and old_base is None:
        return _block(numbers, first_base=first_base, free=free, avoid=avoid, option=option)
    if base is not None:
        _check_base(base, kept=kept, running=running, count=count, option=option)
        ports = {number: base + number for number in numbers}
    else:
        assert old_base is not None
        ports = {number: kept.get(number, old_base + number) for number in numbers}
    taken = [port for number, port in ports.items() if number not in running and not _is_usable(port, free)]
    if taken and base is None and not running:
        return _block(numbers, first_base=first_base, free=free, avoid=avoid, option=option)
    if taken:
        free_block = _block(numbers, first_base=first_base, free=free, avoid=avoid, option=option)
        other = f"choose a free block: {option} {free_block[1] - 1}"
        raise PortTaken(taken[0], next_step="end that program" if running else f"end that program, or {other}")
    return ports


def assign_port(*, first: int, free: Free, own: Container[int], option: str) -> int:
    """Return the first free port for one more peer, from ``first`` on.

    It keeps as far from ports of other networks as a block does, on either side: a free one that lies in a gap among
    them, or behind the last, may be that of a peer that is down just now.

    Args:
        free: Says whether a port can be had.
        own: Ports of the peers of its own network, running or not: being beside them is no harm.
        option: Name of the option that chooses the port, for messages.

    Raises:
        ConfigError: None is to be had.
    """
    for port in range(first, first + _SINGLE_PORTS_TRIED_MAX):
        around = range(max(first, port - NEIGHBOURS_LOOKED_AT + 1), port + NEIGHBOURS_LOOKED_AT)
        if port not in own and all(each in own or free(each) for each in around):
            return port
    raise ConfigError(f"no port from {first} to {port} is free", next_step=f"choose one with {option}")


def _check_base(base: int, *, kept: Mapping[int, int], running: Collection[int], count: int, option: str) -> None:
    if base < 0 or base + count > PORT_MAX:
        raise ConfigError(
            f"{option} {base} leaves no room for {count} ports", next_step=f"choose 0 to {PORT_MAX - count}"
        )
    for number in sorted(running):
        if kept.get(number, base + number) != base + number:
            raise ConfigError(
                f"{option} {base} contradicts peer-{number}, which runs at port {kept[number]}",
                next_step=f"leave {option} out, or end the network first: pair down",
            )


def _block(
    numbers: range, *, first_base: int, free: Free, avoid: Container[int], option: str
) -> dict[int, int]:
    step = -(-len(numbers) // BLOCK_SIZE) * BLOCK_SIZE
    for base in range(first_base, _LAST_BASE, step):
        looked_at = range(1, max(len(numbers), NEIGHBOURS_LOOKED_AT) + 1)
        if all(base + number not in avoid and free(base + number) for number in looked_at):
            return {number: base + number for number in numbers}
    raise ConfigError(f"there is no free block of {len(numbers)} ports", next_step=f"choose one with {option}")


def _is_usable(port: int, free: Free) -> bool:
    return 0 < port <= PORT_MAX and free(port)
