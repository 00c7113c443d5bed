"""Replays: a datagram that arrives twice, by accident or by malice, is opened once (DESIGN section 4)."""

from typing import Final

from simulations.checkers.checker import Context, Watch

_WATCHED: Final = 3
"""Peers whose datagrams are counted: what a few of them would open twice, all would."""

_HEADER_SIZE_BYTES: Final = 36


class NothingIsOpenedTwice(Watch):
    """No process opens more datagrams than different ones arrived at it."""

    name = "no datagram is opened twice"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._watched = {peer.host.address: peer for peer in context.cluster.peers[:_WATCHED]}
        self._arrived: dict[str, dict[bytes, None]] = {address: {} for address in self._watched}
        self._runs: dict[str, int] = dict.fromkeys(self._watched, 0)
        context.cluster.network.taps.append(self._arrives)

    def scanned(self, at_s: float) -> None:
        """Compare what was opened with what arrived."""
        for address, peer in self._watched.items():
            if peer.peer is None or peer.host.process is None or peer.host.process.serial != self._runs[address]:
                continue
            counts, arrived = peer.peer.datagram_counts, len(self._arrived[address])
            opened = counts["received"] - counts["refused"] - counts["throttled"]
            self.count()
            if opened > arrived:
                self.violated(f"{peer.name} opened {opened} datagrams where {arrived} different ones arrived")

    def counts(self) -> str:
        """Return what is counted."""
        return "comparisons of what was opened with what arrived"

    def _arrives(self, data: bytes, target: tuple[str, int]) -> None:
        peer = self._watched.get(target[0])
        if peer is None or peer.host.process is None:
            return
        if peer.host.process.serial != self._runs[target[0]]:
            self._runs[target[0]] = peer.host.process.serial
            self._arrived[target[0]] = {}
        self._arrived[target[0]][data[:_HEADER_SIZE_BYTES]] = None
