"""What ends a simulation because the simulated program, or the simulation itself, is wrong."""

from protocol.errors import PairError


class SimulationError(PairError):
    """Base of all of them."""


class EscapeError(SimulationError):
    """Simulated code reached for something that the virtual world does not have."""


class Deadlock(SimulationError):
    """Nothing is left to happen, and what was waited for did not come."""


class Livelock(SimulationError):
    """So much happened at one instant that time would never go on."""
