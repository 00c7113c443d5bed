"""Named maxima and deadlines of the API; a client can make nothing grow or hang beyond these."""

from dataclasses import dataclass
from typing import Final

JSON_BODY_SIZE_MAX_BYTES: Final = 64 * 1024
"""Largest JSON request body; orders of a person are far smaller."""

LINE_SIZE_MAX_BYTES: Final = 8190
"""Request line and each header line; a key of 512 bytes takes 1,536 when percent-encoded."""

HEADERS_MAX: Final = 64
PARAMETERS_MAX: Final = 16
"""Parameters of one query string; no route takes more than three."""

TIMEOUT_DEFAULT_S: Final = 10.0
TIMEOUT_MAX_S: Final = 60.0
"""Default and largest ``Pair-Timeout``."""

TTL_MAX_S: Final = 100 * 365 * 86_400.0
"""Largest ``Pair-TTL``: a hundred years, so that no expiry leaves the calendar."""

EXPLAIN_SIZE_MAX_BYTES: Final = 7168
"""``Pair-Explain`` response header; common clients refuse header lines above 8,190 bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiLimits:
    """Knobs that tests turn down; the defaults are what ships."""

    connections_max: int = 256
    """Open connections in all, and so requests at work at once, since a connection serves one after the other.

    The caps of a peer together stay below the usual 1,024 descriptors.
    """

    connections_per_address_max: int = 64
    """Open connections from one address; the loopback is exempt, since all local programs share it."""

    streams_max: int = 64
    """Open event streams; each holds a connection for long."""

    writes_max: int = 256
    """Writes at work at once, those included whose client has left."""

    backlog: int = 256
    """Connections that wait to be accepted."""

    header_timeout_s: float = 10.0
    """Time for a request's headers to arrive, and for an idle connection to stay open."""

    body_grace_s: float = 5.0
    """Time that a body may take whatever its size."""

    body_rate_min_bytes_per_s: float = 1024.0
    """Slowest accepted progress of a body beyond the grace."""

    body_timeout_s: float = 120.0
    """Longest time for a body, however steady."""

    lingering_s: float = 2.0
    """How long the rest of a refused body is read and dropped, so that the client sees the refusal."""

    response_timeout_s: float = 60.0
    """Longest time for a client to take in an answer."""

    heartbeat_s: float = 15.0
    """Silence on an event stream after which a comment shows that it lives."""

    stop_grace_s: float = 0.6
    """Time that requests at work have to end when the server stops."""
