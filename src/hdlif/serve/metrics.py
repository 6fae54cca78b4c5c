"""What Prometheus is told of a server."""

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
METHODS = ("GET", "POST", "DELETE")
"""Methods that are counted by their names, and others together: a client could invent any number."""


class Metrics:
    """Counters, gauges and histograms in a registry of their own, so that a process may have several servers."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self._requests = Counter(
            "hdlif_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "hdlif_request_seconds",
            "From a request's headers to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter("hdlif_refused", "Requests refused, by code.", ("code",), registry=registry)
        self._batches = Histogram(
            "hdlif_batch_inputs", "Inputs that were run as one.", ("model",), buckets=_SIZES, registry=registry
        )
        self._steps = Histogram(
            "hdlif_step_requests", "Requests for steps run by one call.", ("model",), buckets=_SIZES, registry=registry
        )
        self._reloads = Counter("hdlif_reloads", "Files loaded again.", ("model", "outcome"), registry=registry)
        self._ended = Counter("hdlif_streams_ended", "Streams that have ended.", ("reason",), registry=registry)
        self._begun = Counter("hdlif_streams_begun", "Streams that have begun.", ("model",), registry=registry)
        self._connections = Counter(
            "hdlif_connections_cut", "Connections that were ended by the server.", ("reason",), registry=registry
        )

    def gauge(self, name: str, what: str, value: Callable[[], float]) -> None:
        """What is read whenever it is asked for."""
        Gauge(name, what, registry=self.registry).set_function(value)

    def batch_of(self, model: str) -> Callable[[int], object]:
        """Told of each batch of a model's inputs."""
        return self._batches.labels(model).observe

    def steps_of(self, model: str) -> Callable[[int], object]:
        """Told of the streams of a model that are advanced at once."""
        return self._steps.labels(model).observe

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request has had its answer."""
        self._requests.labels(method if method in METHODS else "other", route, status).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, code: str) -> None:
        """A request was refused."""
        self._refused.labels(code).inc()

    def reloaded(self, model: str, outcome: str) -> None:
        """A file was loaded again: it has changed, has not, or is refused."""
        self._reloads.labels(model, outcome).inc()

    def begun(self, model: str) -> None:
        """A stream has begun."""
        self._begun.labels(model).inc()

    def ended(self, reason: str) -> None:
        """A stream has ended: a client ended it, or it was idle."""
        self._ended.labels(reason).inc()

    def cut(self, reason: str) -> None:
        """A connection was ended for its client's manners."""
        self._connections.labels(reason).inc()

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)
