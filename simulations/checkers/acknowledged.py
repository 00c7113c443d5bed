"""Acknowledged writes: what a receipt says is true at the moment at which it is given."""

from simulations.checkers.calm import Calm
from simulations.checkers.checker import OutsideContext, OutsideWatch
from simulations.checkers.names import name_of, peers_by_id


class AcknowledgedIsOnDisk(OutsideWatch):
    """Each holder that a receipt names has synced the write; on a quiet network that is everyone who should."""

    name = "acknowledged means synced"

    def __init__(self, context: OutsideContext, calm: Calm) -> None:
        super().__init__(context)
        self._calm = calm
        self._peers = peers_by_id(context.cluster)

    def conclude(self) -> None:
        """Look at each receipt."""
        for write in self.context.history.operations:
            if write.kind == "get" or write.outcome != "ok":
                continue
            self.count()
            missing = [holder for holder in write.holders if not self._has(write.on_disk, holder)]
            receipt = f"{write.asked} acknowledged the {write.kind} of {write.key} at {write.ended_s:.3f} s"
            if not write.holders:
                self.violated(f"{receipt} with no holder at all")
            elif missing:
                self.violated(f"{receipt}, which {name_of(bytes.fromhex(missing[0]), self._peers)} had not synced")
            elif self._calm.around(write) is not None and len(write.holders) < self._everyone():
                self.violated(f"{receipt} with {len(write.holders)} of {self._everyone()} holders, all of them well")

    def counts(self) -> str:
        """Return what is counted."""
        return "receipts"

    def _everyone(self) -> int:
        return min(self.context.scenario.k, len(self.context.cluster.peers))

    def _has(self, on_disk: tuple[str, ...], holder: str) -> bool:
        """Return whether a holder's disk has it; nobody but it knows the disk of one that lies."""
        return holder in on_disk or bytes.fromhex(holder) not in self._peers
