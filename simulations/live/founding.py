"""Holds the keeper of a live run: hands it orders, and lets it go, whereupon it ends the network."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Final

import msgspec

from bootstrap.fork_server import Outcome
from protocol.errors import EnvironmentFault
from simulations.live.ending import end_network
from simulations.live.keeper import NETWORK, PORTS_TIMEOUT_S, START_TIMEOUT_S, Answer, Founding

__all__ = ["NETWORK", "Founding", "Keeper"]

_MARGIN_S: Final = 30.0
"""Beside what the keeper itself waits for: a busy machine takes long to load the program of a peer."""

_END_TIMEOUT_S: Final = 30.0
_PIECE_SIZE_BYTES: Final = 2**16


class KeeperLost(EnvironmentFault):
    """The process that starts the peers said that it cannot, or ended."""


class Keeper:
    """The running keeper. ``close`` it in any case."""

    def __init__(self, folder: Path, founding: Founding) -> None:
        """Start it in ``folder``, which exists, is empty, and is deleted at the end.

        Raises:
            KeeperLost: The system allows no further process.
        """
        self._folder = folder
        self._log = folder / "keeper.log"
        command = [sys.executable, "-m", "simulations.live.keeper", str(folder), _text(founding)]
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
                )
        except OSError as error:
            end_network(folder)
            raise KeeperLost(f"the peers cannot be started: {error}", next_step="make room, and try again") from error
        self._arrived = b""
        self._turn = asyncio.Lock()

    async def founded(self) -> None:
        """Return once the network is founded.

        Raises:
            KeeperLost: It cannot be.
        """
        answer = await self._answer(PORTS_TIMEOUT_S + _MARGIN_S)
        if answer.cause:
            raise KeeperLost(answer.cause, next_step=answer.next_step)

    async def start(self, names: list[str]) -> tuple[Outcome, ...]:
        """Start peers, and return what became of each.

        Raises:
            KeeperLost: The keeper has ended.
        """
        async with self._turn:
            try:
                _pipe(self._process.stdin).write(msgspec.json.encode(names) + b"\n")
                _pipe(self._process.stdin).flush()
            except OSError as error:
                raise self._lost() from error
            return (await self._answer(START_TIMEOUT_S + _MARGIN_S)).outcomes

    def close(self) -> None:
        """Let the keeper end the network, and itself; do it here if it does not. Idempotent."""
        _pipe(self._process.stdin).close()
        try:
            self._process.wait(timeout=_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            _pipe(self._process.stdout).close()
            end_network(self._folder)

    async def _answer(self, timeout_s: float) -> Answer:
        try:
            async with asyncio.timeout(timeout_s):
                return msgspec.json.decode(await self._line(), type=Answer)
        except TimeoutError as error:
            raise KeeperLost(f"the peers did not start within {timeout_s:.0f} s", next_step="try fewer") from error

    async def _line(self) -> bytes:
        loop, descriptor = asyncio.get_running_loop(), _pipe(self._process.stdout).fileno()
        while b"\n" not in self._arrived:
            readable = asyncio.Event()
            loop.add_reader(descriptor, readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(descriptor)
            piece = os.read(descriptor, _PIECE_SIZE_BYTES)
            if not piece:
                raise self._lost()
            self._arrived += piece
        line, _, self._arrived = self._arrived.partition(b"\n")
        return line

    def _lost(self) -> KeeperLost:
        lines = self._log.read_text(errors="replace").strip().splitlines() if self._log.exists() else []
        return KeeperLost(
            f"the process that starts the peers ended: {lines[-1] if lines else 'it does not say why'}",
            next_step="try again",
        )


def _text(founding: Founding) -> str:
    return msgspec.json.encode(founding).decode()


def _pipe(end: IO[bytes] | None) -> IO[bytes]:
    assert end is not None, "it was opened as a pipe"
    return end
