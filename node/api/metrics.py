"""``GET /metrics`` in the Prometheus text format: gauges of the peer's own view and counters of its API."""

import re
from collections.abc import Callable, Iterator, Mapping, Sized
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from node.service import PeerService

METRICS_MEDIA_TYPE: Final = "text/plain; version=1.0.0; charset=utf-8"

_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")


class ApiMetrics(Collector):
    """Counts requests, and shows them with what the peer tells of itself, in a registry of its own."""

    def __init__(
        self,
        *,
        service: PeerService,
        counters: Callable[[], Mapping[str, float]],
        connections: Sized,
        streams: Sized,
    ) -> None:
        """Show ``service``, how many ``connections`` and ``streams`` are open, and ``counters``.

        Args:
            counters: Gives numbers by name; a name that ends in ``_total`` only ever rises.
        """
        self._service = service
        self._counters = counters
        self._connections = connections
        self._streams = streams
        self._requests: dict[tuple[str, str, int], int] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def count(self, *, route: str, method: str, status: int) -> None:
        """Count one answered request. ``route`` and ``method`` come from our table, so the table bounds them."""
        label = (route, method, status)
        self._requests[label] = self._requests.get(label, 0) + 1

    def render(self) -> bytes:
        """Return the page."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family, for the registry."""
        status = self._service.status()
        members = GaugeMetricFamily("pair_members", "Members by state, this peer included.", labels=["state"])
        for state in ("alive", "suspect", "failed", "left"):
            members.add_metric([state], getattr(status.members, state))
        yield members
        yield GaugeMetricFamily("pair_ready", "Whether the peer has joined.", value=float(status.ready))
        yield GaugeMetricFamily("pair_leader_term", "Term of the followed leader.", value=status.term)
        yield GaugeMetricFamily("pair_is_leader", "Whether this peer leads.", value=float(status.role == "leader"))
        yield GaugeMetricFamily("pair_has_leader", "Whether a leader is followed.", value=float(bool(status.leader)))
        yield GaugeMetricFamily("pair_keys_held", "Values that this peer stores.", value=status.keys_held)
        yield GaugeMetricFamily("pair_uptime_seconds", "Time since this boot.", value=status.uptime_s)
        yield from self._collect_api()
        for name, number in self._counters().items():
            yield _family_of(f"pair_{_NOT_IN_NAMES.sub('_', name)}", number)

    def _collect_api(self) -> Iterator[Metric]:
        connections, streams = len(self._connections), len(self._streams)
        yield GaugeMetricFamily("pair_api_connections", "Open connections of the API.", value=connections)
        yield GaugeMetricFamily("pair_api_event_streams", "Open event streams of the API.", value=streams)
        requests = CounterMetricFamily(
            "pair_api_requests", "Answered requests of the API.", labels=["route", "method", "status"]
        )
        for (route, method, status), count in self._requests.items():
            requests.add_metric([route, method, str(status)], count)
        yield requests


def _family_of(name: str, number: float) -> Metric:
    if name.endswith("_total"):
        return CounterMetricFamily(name.removesuffix("_total"), "Counted since this boot.", value=number)
    return GaugeMetricFamily(name, "As of now.", value=number)
