"""A real network as checkers, clients and faults reach it: processes, their API, and how all stood at the last look."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from bootstrap.home import NetworkFolder
from protocol.ids import PeerId
from simulations.live.peers import LivePeer
from simulations.live.requests import BROKEN, NotReached, Requests
from simulations.live.seen import seen_of

_LOOK_TIMEOUT_S: Final = 1.0
_STREAM_AGAIN_S: Final = 0.2
_SENT: Final = "pair_datagrams_sent "
_CHANGES: Final = ("member", "leader", "role", "problem")
"""Events that say that the network is not calm."""


class LiveNetwork:
    """Implements ``simulations.outside.NetworkSeen`` on real processes."""

    def __init__(self, folder: NetworkFolder, requests: Requests) -> None:
        """Look at a network whose peers have their keys; none runs yet."""
        self.peers: Final = [LivePeer(peer) for peer in folder.peers()]
        self.named: Final = {peer.name: peer for peer in self.peers}
        self.guests: Final[list[PeerId]] = []
        self.requests: Final = requests
        self.epoch_s = 0.0
        self.cut: frozenset[tuple[str, str]] = frozenset()
        """Pairs of names: nothing gets from the first to the second."""

        self.bad_links: frozenset[tuple[str, str]] = frozenset()
        self.endings: list[str] = []
        """Peers that ended by themselves, described; nobody asked for those."""

        self.elected: Final[dict[tuple[str, int], None]] = {}
        """Id and term of each peer that became leader."""

        self._sent: dict[tuple[str, int], int] = {}
        """Datagrams that each boot of each peer sent, as far as was told."""

        self._origin_s = 0.0

    # Time

    def begin(self) -> None:
        """Let true time begin."""
        self._origin_s, self.epoch_s = time.monotonic(), time.time()

    def now_s(self) -> float:
        """Return the true time."""
        return time.monotonic() - self._origin_s

    # From outside

    def running(self) -> list[LivePeer]:
        """Return the peers that answered at the last look, and still run."""
        return [peer for peer in self.peers if peer.seen is not None and peer.is_answering]

    @property
    def is_whole(self) -> bool:
        """Whether nothing is cut anywhere."""
        return not self.cut

    @property
    def are_links_good(self) -> bool:
        """Whether no link at all is slow or lossy."""
        return not self.bad_links

    def is_cut(self, source: str, target: str) -> bool:
        """Return whether nothing gets from one named peer to another."""
        return (source, target) in self.cut

    def link_is_good(self, source: str, target: str) -> bool:
        """Return whether the link from one named peer to another is neither slow nor lossy."""
        return (source, target) not in self.bad_links

    def clocks_ahead_s(self, at_s: float) -> Sequence[float]:
        """Return how far network times are ahead: all peers have the clock of this machine."""
        return [0.0] * len(self.running())

    def answering(self) -> list[str]:
        """Return the names of the peers that can be asked."""
        return [peer.name for peer in self.peers if peer.is_answering]

    def datagrams_sent(self) -> int:
        """Return how many datagrams all peers sent; the last ones of a peer that was killed are not known."""
        return sum(self._sent.values())

    # Looking

    def look_at_processes(self) -> None:
        """See who is there, and who ended though nobody asked for it."""
        for peer in self.peers:
            was_up = peer.is_up
            peer.look_at_process()
            if was_up and not peer.is_up and not peer.asked_to_end:
                self.endings.append(f"{peer.name} at {self.now_s():.1f} s, last in its log: {peer.last_words()}")

    async def look(self) -> None:
        """Ask every peer how it sees the network; who does not answer is not running as far as anybody can tell."""
        self.look_at_processes()
        asked = [peer for peer in self.peers if peer.is_answering]
        first = await asyncio.gather(*(self._documents(peer, "status", "members") for peer in asked))
        later = await asyncio.gather(*(self._documents(peer, "status") for peer in asked))
        for peer in self.peers:
            peer.seen = None
        for peer, told, again in zip(asked, first, later, strict=True):
            if told is not None and again is not None:
                peer.seen = seen_of(told[0], told[1], again[0])
                if peer.seen.role == "leader":
                    self._note_leader(peer.peer_id.hex(), peer.seen.term)
        await asyncio.gather(*(self._count(peer) for peer in self.running()))

    async def listen(self, peer: LivePeer, changed: Callable[[], None]) -> None:
        """Follow the events of a peer for ever; tell of each that disturbs, and of each time when it says nothing."""
        while True:
            if peer.is_answering:
                changed()
                try:
                    async for name, body in self.requests.events(f"{peer.api}/v1/events"):
                        if name in _CHANGES:
                            changed()
                        if name == "role" and body["role"] == "leader":
                            self._note_leader(body["id"], body["term"])
                except BROKEN:
                    changed()
            await asyncio.sleep(_STREAM_AGAIN_S)

    def _note_leader(self, peer_id: str, term: int) -> None:
        self.elected[peer_id, term] = None

    async def _count(self, peer: LivePeer) -> None:
        """Note how many datagrams a peer has sent."""
        with contextlib.suppress(*BROKEN, NotReached):
            page = await self.requests.send("GET", f"{peer.api}/metrics", timeout_s=_LOOK_TIMEOUT_S)
            for line in page.body.decode().splitlines():
                if line.startswith(_SENT):
                    self._sent[peer.name, peer.boot] = int(float(line.removeprefix(_SENT)))

    async def _documents(self, peer: LivePeer, *names: str) -> list[Any] | None:
        """Return what a peer answers to each question; None when it does not answer all of them."""
        try:
            return [
                (await self.requests.send("GET", f"{peer.api}/v1/{name}", timeout_s=_LOOK_TIMEOUT_S)).document()
                for name in names
            ]
        except (*BROKEN, NotReached):
            return None
