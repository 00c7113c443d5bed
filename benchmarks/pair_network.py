"""A network of Pair on this machine: started and broken by its command line, asked over HTTP."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from benchmarks.bench import Bench, BenchError
from benchmarks.programs import END_TIMEOUT_S, processes_with, until
from benchmarks.wire import Client, Response, StreamEvent, stream_events

NETWORK: Final = "bench"
COMMAND_TIMEOUT_S: Final = 90.0
SETTLE_TIMEOUT_S: Final = 60.0
RESTART_TIMEOUT_S: Final = 60.0
"""More than the command's own ten seconds: writers that never pause leave it little of the processor."""

_POLL_S: Final = 0.1
_LOG_TAIL_SIZE: Final = 1000


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One peer as ``pair ps`` shows it."""

    name: str
    id: str
    pid: int | None
    api: str
    state: str


class PairNetwork:
    """All peers of one network; see ``started``."""

    def __init__(self, bench: Bench, home: Path) -> None:
        self._bench = bench
        self._home = home
        self._clients: dict[str, Client] = {}
        self._token = ""
        self.peers: list[PeerRow] = []
        """As of the last ``refresh``."""

        self.prefix: tuple[str, ...] = ()
        """What runs ``pair``: a command that takes another one as its last arguments."""

    # Processes

    async def pair(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Any:
        """Run ``pair ARGUMENTS --json`` and return its document.

        Raises:
            BenchError: It failed; the text has its own words.
        """
        process = await asyncio.create_subprocess_exec(
            *self.prefix,
            *pair_command(),
            *arguments,
            "--json",
            "--network",
            NETWORK,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PAIR_HOME": str(self._home)},
        )
        try:
            async with asyncio.timeout(timeout_s):
                output, errors = await process.communicate()
        except TimeoutError as error:
            raise BenchError(f"pair {' '.join(arguments)}: no end within {timeout_s:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode != 0:
            raise BenchError(f"pair {' '.join(arguments)} ended with {process.returncode}: {errors.decode().strip()}")
        return json.loads(output) if output.strip() else None

    async def up(self, count: int, *options: str) -> float:
        """Run ``pair up COUNT --detach`` and return how long the command took, in seconds."""
        began = time.perf_counter()
        await self.pair("up", str(count), "--detach", *options)
        took_s = time.perf_counter() - began
        await self.refresh()
        return took_s

    async def refresh(self) -> None:
        """Learn anew which processes the peers are."""
        rows = await self.pair("ps")
        self.peers = [PeerRow(row["name"], row["id"], row["pid"], row["api"], row["state"]) for row in rows]
        if not self._token:
            self._token = json.loads((self._home / NETWORK / "tokens.json").read_text())["admin"]

    async def restart(self, name: str) -> None:
        """Run ``pair restart``, and learn the new process.

        Raises:
            BenchError: It failed; with the last words of the peer's log, which is deleted with the network.
        """
        try:
            await self.pair("restart", name, "--timeout", f"{RESTART_TIMEOUT_S:g}")
        except BenchError as error:
            log = (self._home / NETWORK / name / "peer.log").read_text(errors="replace")
            raise BenchError(f"{error}; its log ends: {log[-_LOG_TAIL_SIZE:]}") from error
        await self.refresh()

    @property
    def pids(self) -> list[int]:
        """Processes of the running peers."""
        return [peer.pid for peer in self.peers if peer.pid is not None]

    def peer(self, id: str) -> PeerRow:
        """Return the peer with this id."""
        return next(peer for peer in self.peers if peer.id == id)

    def folder(self, peer: PeerRow) -> Path:
        """Return where a peer keeps its files."""
        return self._home / NETWORK / peer.name

    def send_signal(self, peer: PeerRow, number: signal.Signals) -> float:
        """Signal a peer's process; return the wall clock just before, in seconds since 1970."""
        assert peer.pid is not None, peer
        moment = time.time()
        os.kill(peer.pid, number)
        return moment

    # Questions

    def client(self, peer: PeerRow) -> Client:
        """Return the kept-alive connection to a peer's API."""
        if peer.api not in self._clients:
            self._clients[peer.api] = self.new_client(peer)
        return self._clients[peer.api]

    def new_client(self, peer: PeerRow) -> Client:
        """Return another connection to a peer's API, for whoever asks at the same time as others."""
        return Client(peer.api, token=self._token)

    def events_of(self, peer: PeerRow) -> AsyncIterator[StreamEvent]:
        """Follow ``GET /v1/events`` of a peer."""
        return stream_events(peer.api, "/v1/events", token=self._token)

    async def ask(self, peer: PeerRow, path: str) -> Any:
        """Return the document at ``path`` as one peer answers it; None when it does not answer well."""
        with contextlib.suppress(OSError):
            response = await self.client(peer).request("GET", path, timeout_s=5)
            if response.status == 200:
                return response.document()
        return None

    async def ask_all(self, peers: Iterable[PeerRow], path: str) -> list[Any]:
        """Ask several peers, one after the other: so many at once would only wait for each other."""
        return [await self.ask(peer, path) for peer in peers]

    async def settled(self, peers: Sequence[PeerRow] | None = None, *, alive: int | None = None) -> PeerRow:
        """Wait until these peers see so many alive, nobody suspect, and follow one leader; return that leader.

        Args:
            peers: Whom to ask; all by default.
            alive: How many each must see; as many as are asked by default.

        Raises:
            BenchError: It did not come to that.
        """
        asked = list(self.peers if peers is None else peers)
        wanted = len(asked) if alive is None else alive
        waiting, leaders = list(asked), set[str | None]()
        ends = time.monotonic() + SETTLE_TIMEOUT_S
        while time.monotonic() < ends:
            statuses = await self.ask_all(waiting, "/v1/status")
            waiting = [
                peer for peer, status in zip(waiting, statuses, strict=True) if not _is_settled(status, wanted)
            ]
            if not waiting:
                # Whoever was settled early may have changed its mind meanwhile: all together, once more.
                statuses = await self.ask_all(asked, "/v1/status")
                leaders = {status["leader"] if _is_settled(status, wanted) else None for status in statuses}
                if len(leaders) == 1 and None not in leaders:
                    return self.peer(leaders.pop() or "")
                waiting = list(asked)
            await asyncio.sleep(_POLL_S)
        names = ", ".join(peer.name for peer in waiting[:5])
        raise BenchError(f"not settled within {SETTLE_TIMEOUT_S:g} s: {len(waiting)} peers ({names} …), {leaders}")

    async def put(self, peer: PeerRow, key: str, value: bytes, *, timeout_s: float = 15.0) -> Response:
        """Write through a peer."""
        return await self.client(peer).request("PUT", kv_path(key), body=value, timeout_s=timeout_s)

    async def get(self, peer: PeerRow, key: str, *, explain: bool = False, timeout_s: float = 15.0) -> Response:
        """Read through a peer."""
        headers = {"Pair-Explain": "1"} if explain else None
        return await self.client(peer).request("GET", kv_path(key), headers=headers, timeout_s=timeout_s)

    def close_clients(self) -> None:
        """End all connections, so that an idle network is idle."""
        for client in self._clients.values():
            client.close()

    async def end(self) -> None:
        """End every process of the network, whatever state it is in, and delete its data."""
        self.close_clients()
        await until(self._are_all_killed, what="the peers' end", deadline_s=END_TIMEOUT_S)
        shutil.rmtree(self._home, ignore_errors=True)

    def _are_all_killed(self) -> bool:
        """Kill what is there: an interrupted start may have forked more since the last look."""
        found = processes_with("PAIR_HOME", str(self._home))
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found


@asynccontextmanager
async def prepared(bench: Bench) -> AsyncIterator[PairNetwork]:
    """Give a network of which no peer was started yet, in a fresh folder; end it afterwards."""
    number = 1 + sum(entry.name.startswith("pair-") for entry in bench.folder.iterdir())
    network = PairNetwork(bench, bench.folder / f"pair-{number}")
    (bench.folder / f"pair-{number}").mkdir()
    try:
        yield network
    finally:
        await network.end()


@asynccontextmanager
async def started(bench: Bench, count: int) -> AsyncIterator[PairNetwork]:
    """Give a network of ``count`` peers that know each other and follow one leader; end it afterwards."""
    async with prepared(bench) as network:
        bench.say(f"pair up {count} --detach")
        await network.up(count)
        await network.settled()
        yield network


def pair_command() -> list[str]:
    """Return how to run ``pair`` with this interpreter."""
    script = Path(sys.executable).parent / "pair"
    return [str(script)] if script.exists() else [sys.executable, "-c", "from node.cli import main; main()"]


def kv_path(key: str) -> str:
    """Return the route of a key."""
    return f"/v1/kv/{quote(key, safe='')}"


def seconds_of(rfc3339: str) -> float:
    """Return a time of the API as seconds since 1970."""
    return datetime.fromisoformat(rfc3339).timestamp()


def _is_settled(status: Any, alive: int) -> bool:
    return bool(
        status
        and status["ready"]
        and status["leader"]
        and status["members"]["alive"] == alive
        and status["members"]["suspect"] == 0
    )
