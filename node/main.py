"""The program of one peer: an event loop, signals, a log; everything else is ``node.peer``."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from typing import Final

from node.config import PeerConfig
from node.peer import Peer

_STOP_DEADLINE_S: Final = 5.0


async def main(config: PeerConfig, *, stop: asyncio.Event, on_started: Callable[[], None]) -> None:
    """Run one peer until ``stop`` is set or it must not go on.

    Args:
        config: Who and where.
        stop: Set from outside to end the peer in order.
        on_started: Called once the sockets are bound and the run information is written.

    Raises:
        EnvironmentFault: The peer could not start, or cannot keep what it must keep.
    """
    peer = Peer(config, stop=stop)
    try:
        await peer.start()
        on_started()
        await stop.wait()
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STOP_DEADLINE_S):
                await peer.stop()
    if peer.failure is not None:
        raise peer.failure


def run_peer(config: PeerConfig, *, on_started: Callable[[], None] = lambda: None) -> None:
    """Run one peer in this process until SIGTERM or SIGINT. See ``main`` for what it raises."""
    _log_to_stderr()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_until_signal(config, on_started))


async def _until_signal(config: PeerConfig, on_started: Callable[[], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await main(config, stop=stop, on_started=on_started)


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


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for chatty in ("kademlia", "rpcudp", "asyncio", "aiohttp.access"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)
