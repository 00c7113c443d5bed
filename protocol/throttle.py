"""A bound on how often something is done, whatever others send."""

import math


class Throttle:
    """Allows so many acts in each second."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._since = -math.inf
        self._count = 0

    def allows(self, now: float) -> bool:
        """Count an act; return whether it is within the bound."""
        if now - self._since >= 1.0:
            self._since = now
            self._count = 0
        self._count += 1
        return self._count <= self._per_second
