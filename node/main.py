"""The program of one peer: an event loop, signals, a log; everything else is ``node.peer``."""

import asyncio
import contextlib
import dataclasses
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bootstrap.discovery import Discovery, NoDiscovery, ZeroconfDiscovery
from bootstrap.own_address import is_unspecified, own_address, present_address
from bootstrap.peer_log import attach_log, is_log_full
from bootstrap.seeds import resolve_seeds
from node.adapters import Adapters, Disk
from node.config import PeerConfig
from node.descriptors import raise_limit
from node.peer import Peer
from node.peer_disk import PeerDisk
from protocol.identity import CachingVerifier

_STOP_DEADLINE_S: Final = 5.0


def _real_discovery(config: PeerConfig, disk: Disk) -> Discovery:
    if not config.zeroconf:
        return NoDiscovery()
    return ZeroconfDiscovery(
        network_id=config.network.network_id,
        peer_id=disk.identity.peer_id,
        bind=config.bind,
        port=config.port,
        slots_folder=config.network_folder,
        patience_s=1.0 if config.seeds or disk.remembered else 0.0,
    )


REAL: Final = Adapters(
    open_disk=PeerDisk.opened,
    make_discovery=_real_discovery,
    make_verifier=CachingVerifier,
    present_address=present_address,
)
"""The peer's folder, multicast DNS, and the addresses of this machine."""


async def main(
    config: PeerConfig, *, stop: asyncio.Event, on_started: Callable[[Peer], None], adapters: Adapters = REAL
) -> None:
    """Run one peer until ``stop`` is set or it must not go on.

    Args:
        config: Who and where.
        stop: Set from outside to end the peer in order. One that is cancelled instead says goodbye to nobody.
        on_started: Called with the peer once the sockets are bound and the run information is written.
        adapters: The machine that the peer runs on.

    Raises:
        EnvironmentFault: The peer could not start, or cannot keep what it must keep.
    """
    peer = Peer(config, stop=stop, adapters=adapters)
    try:
        await peer.start()
        on_started(peer)
        await stop.wait()
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_DEADLINE_S):
                await peer.stop(in_order=stop.is_set())
    if peer.failure is not None:
        raise peer.failure


def run_peer(
    config: PeerConfig,
    *,
    seeds: Sequence[str] = (),
    log_path: Path | None = None,
    on_started: Callable[[], None] = lambda: None,
) -> None:
    """Run one peer in this process until SIGTERM or SIGINT. See ``main`` for what it raises.

    Args:
        seeds: Further contacts, ``HOST:PORT``, whose names are still to be resolved.
        log_path: Where standard error goes, when that is a log that has to stay bounded.
    """
    _log_to_stderr(log_path)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_until_signal(config, seeds, on_started))


async def _until_signal(config: PeerConfig, seeds: Sequence[str], on_started: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(await _located(config, seeds), stop=stop, on_started=lambda _: on_started())


async def _located(config: PeerConfig, seeds: Sequence[str]) -> PeerConfig:
    """Return ``config`` with all that depends on names, routes and this process filled in, anew at each start.

    Raises:
        ConfigError: A name does not resolve, no address of this machine can be found, or too few files may be open.
    """
    contacts = (*config.seeds, *await resolve_seeds(seeds))
    advertise = config.advertise
    roams = advertise is None and is_unspecified(config.bind)
    if advertise is not None:
        advertise = (await resolve_seeds([f"[{advertise}]:1" if ":" in advertise else f"{advertise}:1"]))[0].host
    elif roams:
        advertise = own_address(contacts)
    # The address at which others are told to find the API must be one that the API answers to.
    api_hosts = config.api_hosts if advertise is None else (*config.api_hosts, advertise)
    return dataclasses.replace(
        config,
        seeds=contacts,
        advertise=advertise,
        roams=roams,
        api_hosts=api_hosts,
        descriptors_max=raise_limit(),
    )


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return uvloop's where it is installed (several times faster UDP), else the standard one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class _OneLine(logging.Formatter):
    """Keeps text of other peers from starting a line or moving a cursor in the log."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in line)


class _BoundedHandler(logging.StreamHandler):  # type: ignore[type-arg]  # not generic at run time
    """Puts the log file by when it is full."""

    def __init__(self, path: Path) -> None:
        super().__init__(sys.stderr)
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        super().emit(record)
        if is_log_full():
            attach_log(self._path)


def _log_to_stderr(path: Path | None) -> None:
    handler = logging.StreamHandler(sys.stderr) if path is None else _BoundedHandler(path)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in ("kademlia", "rpcudp", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # its warnings are about connections that others broke off
