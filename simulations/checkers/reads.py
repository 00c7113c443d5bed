"""Reads: never anything that nobody wrote, and on a quiet network never anything old."""

from collections.abc import Iterable
from typing import Final

from protocol.effects import LeaderChanged, MemberChanged, RoleChanged
from simulations.checkers.calm import Calm
from simulations.checkers.checker import OutsideContext, OutsideWatch
from simulations.clients import ESCAPED
from simulations.history import Operation, stamp_of_version
from simulations.witness import Observation

_BUSY: Final = ("conflict",)
"""What a calm network may answer to a write: others wrote the same key again and again."""


class ReadsAreTrue(OutsideWatch):
    """A read returns a value that some client wrote to that key, and wrote before the read ended."""

    name = "reads return what was written"

    def conclude(self) -> None:
        """Look for the write of each value that was read."""
        history = self.context.history
        written = {put.value: put for put in history.operations if put.kind == "put"}
        for read in _answered_reads((*history.operations, *history.final_reads)):
            self.count()
            if read.value is None:
                continue
            put = written.get(read.value)
            text = read.value[:24].decode(errors="replace")
            if put is None or put.key != read.key:
                self.violated(f"{read.asked} answered {text!r} for {read.key}, which nobody wrote there")
            elif read.ended_s is not None and put.began_s > read.ended_s:
                self.violated(f"{read.asked} answered {text!r} for {read.key} before it was written")

    def counts(self) -> str:
        """Return what is counted."""
        return "reads"


class ReadsReturnTheNewestSeen(OutsideWatch):
    """A read never returns less than the newest version that a holder told the asked peer."""

    name = "reads return the newest version seen"

    def conclude(self) -> None:
        """Compare each answer with what its explanation says of the holders."""
        history = self.context.history
        for read in _answered_reads((*history.operations, *history.final_reads)):
            if read.seen:
                self.count()
                newest = max(read.seen, key=stamp_of_version)
                if stamp_of_version(read.version) < stamp_of_version(newest):
                    self.violated(f"{read.asked} answered {read.key} with {read.version} though a holder told {newest}")

    def counts(self) -> str:
        """Return what is counted."""
        return "explained reads"


class CalmReadsAreFresh(OutsideWatch):
    """On a quiet network a read returns the newest write acknowledged before it, or a later one."""

    name = "reads on a quiet network are fresh"
    hears = (MemberChanged, LeaderChanged, RoleChanged)

    def __init__(self, context: OutsideContext, calm: Calm) -> None:
        super().__init__(context)
        self._calm = calm

    def observed(self, observation: Observation) -> None:
        """Keep track of calm: it ends when a member, a leader or a role changes."""
        self._calm.disturbed(observation.at_s)

    def scanned(self, at_s: float) -> None:
        """Keep track of calm."""
        self._calm.scanned(at_s)

    def conclude(self) -> None:
        """Compare each operation of a calm stretch with the writes acknowledged before it, in that same stretch."""
        history = self.context.history
        by_key: dict[str, list[Operation]] = {}
        for operation in history.operations:
            by_key.setdefault(operation.key, []).append(operation)
        for operation in (*history.operations, *history.final_reads):
            if operation.outcome != "ok":
                continue
            span = self._calm.around(operation)
            if span is None:
                continue
            others = by_key.get(operation.key, [])
            written = [
                write
                for write in others
                if _is_done(write, before_s=operation.began_s) and self._calm.around(write) is span
            ]
            if not written:
                continue
            self.count()
            self._compare(operation, max(written, key=lambda write: stamp_of_version(write.version)), others)

    def counts(self) -> str:
        """Return what is counted."""
        return "answers after a write on a quiet network"

    def _compare(self, later: Operation, write: Operation, others: list[Operation]) -> None:
        newest = stamp_of_version(write.version)
        if later.version is not None:
            if stamp_of_version(later.version) < newest:
                acknowledged = f"{write.version}, acknowledged by {write.asked} at {write.ended_s:.3f} s"
                self.violated(
                    f"{later.asked} answered a {later.kind} of {later.key} at {later.began_s:.3f} s"
                    f" with {later.version}, older than {acknowledged}"
                )
        elif write.kind == "put" and write.ttl_s is None and not _may_be_gone(later, write, others):
            self.violated(
                f"{later.asked} did not find {later.key} at {later.began_s:.3f} s,"
                f" acknowledged by {write.asked} at {write.ended_s:.3f} s"
            )


class CalmAnswers(OutsideWatch):
    """On a quiet network every operation succeeds; and whatever happens, it ends with an answer or a named problem."""

    name = "a quiet network answers"

    def __init__(self, context: OutsideContext, calm: Calm) -> None:
        super().__init__(context)
        self._calm = calm

    def conclude(self) -> None:
        """Look at the outcome of each operation."""
        for operation in self.context.history.operations:
            if operation.problem.startswith(ESCAPED):
                self.violated(f"{operation.asked} let an error of a {operation.kind} escape: {operation.problem}")
            elif self._calm.around(operation) is not None:
                self.count()
                if operation.outcome != "ok" and operation.problem not in _BUSY:
                    self.violated(
                        f"{operation.asked} answered a {operation.kind} of {operation.key} at {operation.began_s:.3f} s"
                        f" with {operation.problem} though nothing was wrong"
                    )

    def counts(self) -> str:
        """Return what is counted."""
        return "operations on a quiet network"


def _answered_reads(operations: Iterable[Operation]) -> list[Operation]:
    return [operation for operation in operations if operation.kind == "get" and operation.outcome == "ok"]


def _is_done(write: Operation, *, before_s: float) -> bool:
    return write.kind != "get" and write.outcome == "ok" and write.ended_s is not None and write.ended_s < before_s


def _may_be_gone(read: Operation, write: Operation, others: list[Operation]) -> bool:
    """Return whether a delete, or a write that expires, may have come after ``write`` and before the read ended."""
    return any(
        other.kind != "get"
        and (other.kind == "delete" or other.ttl_s is not None)
        and (read.ended_s is None or other.began_s < read.ended_s)
        and (other.version is None or stamp_of_version(other.version) > stamp_of_version(write.version))
        for other in others
    )
