"""Writes: what was acknowledged is kept (DESIGN section 1, promise 4), and what is gone stays gone."""

from typing import Final

from protocol.ids import key_digest
from protocol.records import Record
from simulations.checkers.checker import OutsideContext, OutsideWatch
from simulations.checkers.names import peers_by_id
from simulations.checkers.network_times import NetworkTimes
from simulations.history import Operation, stamp_of_version

_MARGIN_S: Final = 0.5
"""Beside the spread of the peers' clocks, an answer may be on its way for so long."""


class NoWriteIsLost(OutsideWatch):
    """After all has healed some disk holds the newest acknowledged version of each key, or a later one.

    Excused is only what so many destroyed disks explain that none of the disks that confirmed the write is left.
    """

    name = "no acknowledged write is lost"

    def __init__(self, context: OutsideContext) -> None:
        super().__init__(context)
        self._peers = peers_by_id(context.cluster)
        self._losses: dict[str, list[float]] = {peer.name: [] for peer in context.cluster.peers}

    def scanned(self, at_s: float) -> None:
        """Note which disks were destroyed."""
        for peer in self.context.cluster.peers:
            lost = self._losses[peer.name]
            lost.extend([at_s] * (peer.losses - len(lost)))

    def conclude(self) -> None:
        """Compare the newest acknowledged version of each key with the disks."""
        self.scanned(self.context.now())
        newest = newest_acknowledged(self.context.history.operations)
        for key, write in newest.items():
            self.count()
            if write.ttl_s is not None or self._is_excused(write):
                continue
            kept = newest_on_disks(self.context, key)
            if kept is None or kept.stamp < stamp_of_version(write.version):
                found = f"only {kept.version}" if kept is not None else "nothing"
                holders = f"{len(write.holders)} of {write.wanted} holders"
                self.violated(
                    f"the {write.kind} of {key} that {write.asked} acknowledged at {write.ended_s:.3f} s with {holders}"
                    f" as {write.version} is lost: the disks hold {found}"
                )

    def counts(self) -> str:
        """Return what is counted."""
        return "keys with an acknowledged write"

    def _is_excused(self, write: Operation) -> bool:
        for holder in write.holders:
            peer = self._peers.get(bytes.fromhex(holder))
            if peer is not None and not any(lost_s >= write.began_s for lost_s in self._losses[peer.name]):
                return False
        return True


class EverybodyAnswersAlike(OutsideWatch):
    """After healing, every peer answers each key alike, and with the newest acknowledged write or a later one."""

    name = "every peer answers alike"
    is_of_the_end = True

    def __init__(self, context: OutsideContext, times: NetworkTimes) -> None:
        super().__init__(context)
        self._times = times

    def conclude(self) -> None:
        """Compare the final reads of each key with each other, and with the newest version on any disk."""
        by_key: dict[str, list[Operation]] = {}
        for read in self.context.history.final_reads:
            self.count()
            by_key.setdefault(read.key, []).append(read)
        for key, reads in by_key.items():
            failed = [read for read in reads if read.outcome != "ok"]
            if failed:
                self.violated(f"{failed[0].asked} could not answer {key} after everything healed: {failed[0].problem}")
                continue
            kept = newest_on_disks(self.context, key)
            for read in reads:
                if kept is not None and self._times.may_be_either(kept, read):
                    continue
                expected = kept.version if kept is not None and self._times.is_live(kept, read) else None
                if read.version != expected:
                    self.violated(
                        f"{read.asked} answered {key} with {read.version or 'nothing'}"
                        f" where the newest version on any disk is {_described(kept)}"
                    )

    def counts(self) -> str:
        """Return what is counted."""
        return "final reads"


class GoneStaysGone(OutsideWatch):
    """After healing no key returns that a later acknowledged delete, or its own time to live, has ended."""

    name = "deleted and expired keys stay away"

    def __init__(self, context: OutsideContext, times: NetworkTimes) -> None:
        super().__init__(context)
        self._times = times

    def scanned(self, at_s: float) -> None:
        """Keep track of the peers' clocks."""
        self._times.scanned(at_s)

    def conclude(self) -> None:
        """Look at each value that was found in the end, and, for expired ones, ever."""
        history = self.context.history
        newest = newest_acknowledged(history.operations)
        written = {put.value: put for put in history.operations if put.kind == "put"}
        for read in history.final_reads:
            self.count()
            write = newest.get(read.key)
            if read.value is None or write is None or write.kind != "delete":
                continue
            if stamp_of_version(read.version) < stamp_of_version(write.version):
                self.violated(f"{read.asked} answered {read.key}, deleted at {write.ended_s:.3f} s as {write.version}")
        for read in (*history.operations, *history.final_reads):
            put = written.get(read.value) if read.kind == "get" and read.outcome == "ok" else None
            if put is None or put.ttl_s is None:
                continue
            self.count()
            gone_s = put.began_s + put.ttl_s + self._times.spread_s + _MARGIN_S
            if read.began_s > gone_s:
                self.violated(
                    f"{read.asked} answered {read.key} at {read.began_s:.3f} s, which expired by {gone_s:.3f} s"
                )

    def counts(self) -> str:
        """Return what is counted."""
        return "reads of what may be gone"


def newest_acknowledged(operations: list[Operation]) -> dict[str, Operation]:
    """Return the acknowledged write with the highest version of each key that has one."""
    newest: dict[str, Operation] = {}
    for operation in operations:
        if operation.kind != "get" and operation.outcome == "ok":
            known = newest.get(operation.key)
            if known is None or stamp_of_version(operation.version) > stamp_of_version(known.version):
                newest[operation.key] = operation
    return newest


def newest_on_disks(context: OutsideContext, key: str) -> Record | None:
    """Return the newest version of a key on the disk of any peer."""
    place = key_digest(key, open_network=False)
    found = [peer.records.read(place) for peer in context.cluster.peers]
    return max((record for record in found if record is not None), key=lambda record: record.order, default=None)


def _described(record: Record | None) -> str:
    if record is None:
        return "none"
    return f"{record.version}, a {'delete' if record.is_tombstone else 'put'}"
