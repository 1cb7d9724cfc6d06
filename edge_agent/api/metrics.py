"""What does the API count of itself?"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Metrics:
    """A registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._requests = Counter("edge_agent_api_requests", "Requests answered", ("route", "status"), registry=self._registry)
        self._records = Counter("edge_agent_api_records", "Records handed out", ("consumer",), registry=self._registry)
        self._bytes = Counter("edge_agent_api_bytes", "Bytes of pages handed out", ("consumer",), registry=self._registry)
        self._up = Gauge("edge_agent_api_control_up", "Whether the control process answers", registry=self._registry)

    def answered(self, route: str, status: int) -> None:
        self._requests.labels(route, str(status)).inc()

    def served(self, consumer: str, records: int, size: int) -> None:
        self._records.labels(consumer).inc(records)
        self._bytes.labels(consumer).inc(size)

    def text(self, *, control_up: bool) -> str:
        """The Prometheus exposition."""
        self._up.set(control_up)
        return generate_latest(self._registry).decode()
