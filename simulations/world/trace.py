"""The trace of a run: one digest over everything that crossed the network, so that two runs can be compared.

What TLS carries differs from run to run, since OpenSSL draws its own randomness; its sizes and times do not. So
pieces of streams count by size, datagrams by content.
"""

import hashlib
import struct
from typing import Final

_EVENT: Final = struct.Struct("<dI")

CHECKPOINT_EVENTS: Final = 1000
"""A digest is kept after each so many events: the first that differs names the window in which two runs parted."""


class Trace:
    """A rolling digest, with checkpoints and, for one window of events, the full text."""

    def __init__(self, *, window: range = range(0)) -> None:
        """Keep the digest; ``window`` chooses the numbers of the events whose lines are kept as well."""
        self._hash = hashlib.sha256()
        self._window = window
        self.events = 0
        self.checkpoints: list[str] = []
        self.lines: list[str] = []

    def note(self, label: bytes, content: bytes, *, when: float, size_bytes: int) -> None:
        """Add one event: who to whom, and what; ``content`` may be empty where only the size counts."""
        self._hash.update(_EVENT.pack(when, size_bytes) + label + content)
        if self.events in self._window:
            self.lines.append(f"{self.events} {when:.9f} {label.decode()}{size_bytes} {content.hex()}")
        self.events += 1
        if self.events % CHECKPOINT_EVENTS == 0:
            self.checkpoints.append(self._hash.copy().hexdigest())

    @property
    def digest(self) -> str:
        """64 hexadecimal digits over everything so far."""
        return self._hash.hexdigest()
