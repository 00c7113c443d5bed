"""How much one member may have this peer keep, whatever keys it signs with.

A writer's own records are bounded by what the store holds of that writer. But a record may come from anybody, and a
hostile member can invent writers without end. So records whose writer nobody here knows count against the member
that brings them, as much in a day as one writer may have in all; and new versions have a pace. Members move their
records between each other much faster, but those are the records of writers that are known.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from protocol import limits
from protocol.ids import PeerId

WRITES_PER_S: Final = 2_000.0
"""New versions of one member, lasting; some twice what one peer's users reach on one machine."""

WRITES_BURST: Final = 20_000.0

_DAY_S: Final = 86_400.0
_MEMBERS_MAX: Final = limits.MEMBERS_MAX + limits.REMEMBERED_DEAD_MAX


@dataclass(slots=True)
class _Used:
    """What one member used, at ``at``; all of it fades with time."""

    at: float
    writes: float = 0.0
    brought_records: float = 0.0
    brought_bytes: float = 0.0

    def fade(self, now: float) -> None:
        passed_s = max(0.0, now - self.at)
        self.at = now
        self.writes = max(0.0, self.writes - passed_s * WRITES_PER_S)
        self.brought_records = max(0.0, self.brought_records - passed_s * limits.RECORDS_PER_OWNER_MAX / _DAY_S)
        self.brought_bytes = max(0.0, self.brought_bytes - passed_s * limits.BYTES_PER_OWNER_MAX / _DAY_S)


class MemberQuotas:
    """Counts what members had this peer store.

    Invariant: as many members are counted as a full table holds; the one that stored nothing for longest goes first.
    """

    def __init__(self) -> None:
        self._used: OrderedDict[PeerId, _Used] = OrderedDict()

    def __len__(self) -> int:
        """Members that are counted."""
        return len(self._used)

    def may_write(self, member: PeerId, *, now: float) -> bool:
        """Return whether a member may have a new version of its own stored."""
        used = self._faded(member, now)
        return used is None or used.writes + 1 <= WRITES_BURST

    def may_bring(self, member: PeerId, size_bytes: int, *, now: float) -> bool:
        """Return whether a member may bring a value of a writer that nobody here knows."""
        used = self._faded(member, now)
        if used is None:
            return size_bytes <= limits.BYTES_PER_OWNER_MAX
        return (
            used.brought_records + 1 <= limits.RECORDS_PER_OWNER_MAX
            and used.brought_bytes + size_bytes <= limits.BYTES_PER_OWNER_MAX
        )

    def wrote(self, member: PeerId, *, now: float) -> None:
        """Count a new version that was stored."""
        self._counted(member, now).writes += 1

    def brought(self, member: PeerId, size_bytes: int, *, now: float) -> None:
        """Count a record of an unknown writer that was stored."""
        used = self._counted(member, now)
        used.brought_records += 1
        used.brought_bytes += size_bytes

    def _faded(self, member: PeerId, now: float) -> _Used | None:
        used = self._used.get(member)
        if used is not None:
            used.fade(now)
        return used

    def _counted(self, member: PeerId, now: float) -> _Used:
        used = self._used.get(member)
        if used is None:
            used = self._used[member] = _Used(at=now)
            if len(self._used) > _MEMBERS_MAX:
                self._used.popitem(last=False)
        used.fade(now)
        self._used.move_to_end(member)
        return used
