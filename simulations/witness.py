"""Listens to what simulated peers sign and report, for the checkers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from protocol.effects import Event
from protocol.identity import CachingVerifier, Identity
from protocol.ids import PeerId

VERIFIED_MAX: Final = 200_000
"""Good signatures that all simulated peers remember together: verifying is pure, so the answer may be shared."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A peer signed something."""

    at_s: float
    peer_id: PeerId
    message: bytes


@dataclass(frozen=True, slots=True)
class Reported:
    """A peer's core reported an event."""

    at_s: float
    peer_id: PeerId
    event: Event


Observation = Signed | Reported


class Witness:
    """Passes every observation on to whoever listens."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Take the world's true time from ``clock``."""
        self.listeners: list[Callable[[Observation], None]] = []
        self.verifier: Final = CachingVerifier(entries_max=VERIFIED_MAX)
        self._clock = clock

    def identity(self, seed: bytes) -> Identity:
        """Return a key pair whose signatures are heard."""
        return _HeardIdentity(seed, self)

    def signed(self, peer_id: PeerId, message: bytes) -> None:
        """Tell of a signature."""
        self._tell(Signed(self._clock(), peer_id, message))

    def reported(self, peer_id: PeerId, event: Event) -> None:
        """Tell of an event of a core."""
        self._tell(Reported(self._clock(), peer_id, event))

    def _tell(self, observation: Observation) -> None:
        for listener in self.listeners:
            listener(observation)


class _HeardIdentity(Identity):
    def __init__(self, seed: bytes, witness: Witness) -> None:
        super().__init__(seed)
        self._witness = witness

    def sign(self, message: bytes) -> bytes:
        self._witness.signed(self.peer_id, message)
        signature = super().sign(message)
        self._witness.verifier.remember(public_key=self.public_key, signature=signature, message=message)
        return signature
