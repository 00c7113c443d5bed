"""Who leads: ballots, signed votes, certificates, leases. ``Election`` is the one door in."""

from protocol.election.election import Election

__all__ = ["Election"]
