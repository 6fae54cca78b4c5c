"""Collect metrics of a server for Prometheus."""

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_METHODS = ("GET", "POST", "DELETE")


class Metrics:
    """The counters and histograms of one server, in a registry of their own, so one process can run several servers."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"hdlif_{name}", what, labels, registry=registry)

        def histogram(name: str, what: str, label: str, buckets: tuple[float, ...]) -> Histogram:
            return Histogram(f"hdlif_{name}", what, (label,), buckets=buckets, registry=registry)

        self._requests = counter("requests", "Requests answered.", "method", "route", "status")
        self._seconds = histogram(
            "request_seconds", "From a request's headers to the end of its answer.", "route", _SECONDS
        )
        self.refused = counter("refused", "Requests refused, by code.", "code")
        self.batches = histogram("batch_inputs", "Inputs per batch.", "model", _SIZES)
        self.steps = histogram("step_requests", "Step requests per call.", "model", _SIZES)
        self.reloads = counter("reloads", "Reloaded files.", "model", "outcome")
        self.streams_ended = counter("streams_ended", "Ended streams.", "reason")
        self.streams_begun = counter("streams_begun", "Started streams.", "model")
        self.connections_cut = counter("connections_cut", "Connections closed by the server.", "reason")

    def add_gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """Add a gauge that calls `value` each time metrics are collected."""
        Gauge(f"hdlif_{name}", what, registry=self.registry).set_function(value)

    def count_request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request. Unusual HTTP methods are counted together, because clients can send any method name."""
        self._requests.labels(method if method in _METHODS else "other", route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def as_text(self) -> bytes:
        """Return all metrics in Prometheus text format."""
        return generate_latest(self.registry)
