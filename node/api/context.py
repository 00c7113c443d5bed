"""What handlers share."""

from collections.abc import Callable
from dataclasses import dataclass

from node.api.event_stream import StreamHost
from node.api.limits import ApiLimits
from node.api.metrics import ApiMetrics
from node.api.writes import OwnedWrites
from node.faults.plane import FaultPlane
from node.service import PeerService


@dataclass(frozen=True, kw_only=True, slots=True)
class Context:
    """The peer behind the API, and the API's own parts."""

    service: PeerService
    writes: OwnedWrites
    streams: StreamHost
    metrics: ApiMetrics
    limits: ApiLimits
    faults: FaultPlane | None
    """None in a peer that was started without ``--faults``."""

    openapi: Callable[[], bytes]
    """Makes the OpenAPI document, as JSON: seldom asked for, and too large to keep in every peer."""
