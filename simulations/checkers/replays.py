"""Replays: a datagram that arrives twice, by accident or by malice, is opened once (DESIGN section 4)."""

from typing import Final

from simulations.checkers.checker import Context, Watch
from simulations.cluster import SimPeer
from simulations.world.process import State

_WATCHED: Final = 3
"""Peers whose datagrams are counted: what a few of them would open twice, all would."""

_HEADER_SIZE_BYTES: Final = 36

_AFTER_PAUSE_S: Final = 0.01
"""After a pause the datagrams that waited are opened one by one; so long it is not told which is which."""


class NothingIsOpenedTwice(Watch):
    """No process opens a datagram that arrived before.

    A process opens what arrives before anything else arrives: what it opened since the last arrival is that one.
    """

    name = "no datagram is opened twice"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._watched = {peer.host.address: _Mailbox(peer) for peer in context.cluster.peers[:_WATCHED]}
        context.cluster.network.taps.append(self._arrives)

    def scanned(self, at_s: float) -> None:
        """Judge what arrived last."""
        for mailbox in self._watched.values():
            self._judge(mailbox)

    def counts(self) -> str:
        """Return what is counted."""
        return "arrivals compared with what was opened"

    def _arrives(self, data: bytes, target: tuple[str, int]) -> None:
        mailbox = self._watched.get(target[0])
        if mailbox is not None:
            self._judge(mailbox)
            mailbox.take(data[:_HEADER_SIZE_BYTES], self.context.now())

    def _judge(self, mailbox: "_Mailbox") -> None:
        opened = mailbox.opened_since()
        if opened is not None:
            self.count()
            if opened and mailbox.is_again:
                self.violated(f"{mailbox.peer.name} opened a datagram that had arrived before")


class _Mailbox:
    """What arrived at one peer."""

    def __init__(self, peer: SimPeer) -> None:
        self.peer: Final = peer
        self.is_again = False
        """Whether the last arrival had arrived before at the same process."""

        self._run = 0
        self._arrived: dict[bytes, None] = {}
        self._opened: int | None = None
        """How many the process had opened before the last arrival; None when that is not known."""

        self._muddled_until_s = 0.0

    def take(self, header: bytes, now: float) -> None:
        """Note an arrival."""
        process = self.peer.host.process
        if process is None or process.state is State.DEAD:
            self._opened = None
            return
        if process.serial != self._run:
            self._run, self._arrived = process.serial, {}
        self.is_again = header in self._arrived
        self._arrived[header] = None
        if process.state is State.PAUSED:
            self._muddled_until_s = float("inf")
        elif self._muddled_until_s == float("inf"):
            self._muddled_until_s = now + _AFTER_PAUSE_S
        self._opened = self._count() if now >= self._muddled_until_s else None

    def opened_since(self) -> int | None:
        """Return how many were opened since the last arrival, or None when that is not known."""
        process, before = self.peer.host.process, self._opened
        if before is None or process is None or process.serial != self._run or process.state is not State.RUNNING:
            return None
        now = self._count()
        return now - before if now is not None else None

    def _count(self) -> int | None:
        if self.peer.peer is None:
            return None
        counts = self.peer.peer.datagram_counts
        return counts["received"] - counts["refused"] - counts["throttled"]
