"""Contacts that did not answer: how often in a row, and until when they are better left alone."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

_BACK_OFF_MIN_S: Final = 1.0
_BACK_OFF_MAX_S: Final = 60.0
_REMEMBERED_MAX: Final = 1024
"""Contacts with failures that are remembered; the one that failed longest ago goes first."""


@dataclass(slots=True)
class _Record:
    count: int
    until: float


class Failures:
    """A bounded negative cache; the back-off doubles with each failure in a row. Times are the event loop's."""

    def __init__(self) -> None:
        self._records: OrderedDict[bytes, _Record] = OrderedDict()

    def add(self, node_id: bytes, now: float) -> None:
        """Note a failed call."""
        record = self._records.setdefault(node_id, _Record(0, now))
        record.count += 1
        # The exponent is bounded because the power is computed before the maximum is applied.
        record.until = now + min(_BACK_OFF_MAX_S, _BACK_OFF_MIN_S * 2 ** min(record.count - 1, 10))
        self._records.move_to_end(node_id)
        if len(self._records) > _REMEMBERED_MAX:
            self._records.popitem(last=False)

    def count(self, node_id: bytes) -> int:
        """Return how many calls failed in a row."""
        record = self._records.get(node_id)
        return 0 if record is None else record.count

    def forgive(self, node_id: bytes) -> None:
        """Forget the failures of a contact that answered or came back."""
        self._records.pop(node_id, None)

    def is_avoided(self, node_id: bytes, now: float) -> bool:
        """Return whether the contact failed so lately that nobody should wait for it again."""
        record = self._records.get(node_id)
        return record is not None and now < record.until
