"""What a server grants its clients."""

import math
from dataclasses import dataclass, fields

from hdlif.errors import HdlifError, brief
from hdlif.runtime.state import is_integer


@dataclass(frozen=True)
class Settings:
    """Limits, times and sizes. Each holds for one process.

    Attributes:
        threads: of each network's runtime; the machine's cores by default.
        latency_budget_ms: how long an input may wait for others to be run with.
        max_batch: inputs that are run at once.
        max_waiting: inputs of a network, and steps of its streams, that wait; what comes beyond is refused.
        max_inputs: of one request.
        max_steps: of a stream, of one request.
        max_body_bytes: of one request.
        max_bodies_bytes: of all requests that are being received or worked on, with what is made of their bodies.
        max_pixels: of an image.
        read_seconds: for which a body may be read, from an image to pixels, say, once it has come.
        max_bytes, max_operations: of a run, as `Session` has them.
        max_streams: that are open; 0 leaves streams out.
        max_stream_bytes: that all open streams hold.
        stream_idle_seconds: after which a stream that nobody uses is ended.
        max_old_bytes: that networks hold which have been exchanged and on which streams live; beyond them no file is
            loaded again.
        max_connections: that are open.
        receive_seconds: within which a request has come whole, from its first byte.
        send_seconds: for which a client may leave an answer unread.
        keep_alive_seconds: for which a connection may be silent between requests.
        requests_per_second: of one address, on average; twice as many may come at once. None sets no limit.
        drain_seconds: for which, after SIGTERM, requests are still taken while `/readyz` says no.
        shutdown_seconds: which requests in flight then have.
    """

    threads: int | None = None
    latency_budget_ms: float = 2.0
    max_batch: int = 16
    max_waiting: int = 2048
    max_inputs: int = 1024
    max_steps: int = 2**14
    max_body_bytes: int = 2**24
    max_bodies_bytes: int = 2**29
    max_pixels: int = 2**25
    read_seconds: float = 10.0
    max_bytes: int = 2**30
    max_operations: int = 2**38
    max_streams: int = 4096
    max_stream_bytes: int = 2**28
    stream_idle_seconds: float = 300.0
    max_old_bytes: int = 2**28
    max_connections: int = 2048
    receive_seconds: float = 30.0
    send_seconds: float = 30.0
    keep_alive_seconds: float = 30.0
    requests_per_second: float | None = None
    drain_seconds: float = 0.0
    shutdown_seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), _LEAST.get(field.name, 1)
            if value is None and field.name in _OPTIONAL:
                continue
            whole = field.type in (int, int | None)
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            good = is_integer(value) if whole else number
            if not good or value < least or (least == 0 and field.name in _ABOVE and value <= 0):
                what = "an integer" if whole else "a number"
                bound = f"above {least}" if field.name in _ABOVE else f"of at least {least}"
                raise HdlifError(f"{field.name} = {brief(value)}; give {what} {bound}")


_OPTIONAL = ("threads", "requests_per_second")
_ABOVE = (
    *("requests_per_second", "read_seconds", "receive_seconds", "send_seconds", "keep_alive_seconds"),
    "stream_idle_seconds",
)
"""What must be more than its least value."""
_LEAST = {
    **dict.fromkeys(("latency_budget_ms", "max_streams", "drain_seconds", "shutdown_seconds", *_ABOVE), 0),
}
