"""Which addresses receive what is sent to them: nobody else is sent more than a little beyond what came from there.

The source of a datagram is easily forged, and a small question may have an answer of 8 KB. So a large answer waits
until the address has answered a ping of ours, whose number only its receiver can know (as QUIC does, RFC 9000,
section 8).
"""

from collections import OrderedDict
from typing import Final

AMPLIFICATION_MAX: Final = 3
"""Bytes sent to an unproven address per byte received from it (RFC 9000, section 8)."""

_PROOF_LIFETIME_S: Final = 600.0
_PROVEN_MAX: Final = 4096
_WAITING_ADDRESSES_MAX: Final = 128
_WAITING_ANSWERS_MAX: Final = 4
"""Answers kept per address; stock nodes ask one question at a time of each node."""


class AddressProofs:
    """Proven addresses, and the answers that wait for a proof; both bounded."""

    def __init__(self) -> None:
        self._proven: OrderedDict[tuple[str, int], float] = OrderedDict()
        self._waiting: dict[tuple[str, int], list[bytes]] = {}

    def is_proven(self, address: tuple[str, int], now: float) -> bool:
        """Return whether ``address`` answered a call of ours in the last minutes."""
        return now < self._proven.get(address, now)

    def prove(self, address: tuple[str, int], now: float) -> None:
        """Note that ``address`` answered a call of ours."""
        self._proven[address] = now + _PROOF_LIFETIME_S
        self._proven.move_to_end(address)
        if len(self._proven) > _PROVEN_MAX:
            self._proven.popitem(last=False)

    def begin(self, address: tuple[str, int]) -> bool:
        """Return whether a proof of ``address`` should begin now: none is at work, and not too many are."""
        if address in self._waiting or len(self._waiting) >= _WAITING_ADDRESSES_MAX:
            return False
        self._waiting[address] = []
        return True

    def hold(self, address: tuple[str, int], datagram: bytes) -> None:
        """Keep an answer until the proof that is at work ends; without one, or beyond the limit, it is dropped."""
        waiting = self._waiting.get(address)
        if waiting is not None and len(waiting) < _WAITING_ANSWERS_MAX:
            waiting.append(datagram)

    def end(self, address: tuple[str, int]) -> list[bytes]:
        """Return what waited for the proof, which is no longer at work."""
        return self._waiting.pop(address, [])
