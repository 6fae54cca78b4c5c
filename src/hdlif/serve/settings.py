"""Limits of a server."""

import math
from dataclasses import dataclass, fields

from hdlif.errors import HdlifError, brief
from hdlif.runtime.early import Confidence
from hdlif.runtime.state import is_integer

_MAY_BE_ZERO = ("latency_budget_ms", "max_streams", "drain_seconds", "shutdown_seconds")


@dataclass(frozen=True)
class Settings:
    """The limits and timeouts of a server, which apply to each process separately.

    Attributes:
        confidence: confidence for early exit, as for `hdlif run`; by default, each network's confidence.
        threads: threads of each network's runtime; by default, the number of cores.
        latency_budget_ms: longest time for which an input may wait for other inputs to form a batch.
        max_batch: inputs per run.
        max_waiting: waiting inputs per network, and waiting steps of its streams; further ones are rejected.
        max_inputs: inputs per request.
        max_steps: steps of a stream per request.
        max_body_bytes: bytes of a request body.
        max_bodies_bytes: bytes of all requests that are being received or processed, with data made from their bodies.
        max_pixels: pixels of an image.
        read_seconds: time for reading a received body, for example decoding it to pixels.
        max_bytes, max_operations: limits of a run, as in `Session`.
        max_streams: open streams; 0 disables streams.
        max_stream_bytes: bytes of all open streams.
        stream_idle_seconds: time after which an unused stream is closed.
        max_old_bytes: bytes of replaced networks that streams still use; above it, no file is reloaded.
        max_connections: open connections.
        receive_seconds: time from the first byte of a request to the last.
        send_seconds: time for which a client may leave a response unread.
        keep_alive_seconds: time for which a connection may be idle between requests.
        drain_seconds: time after SIGTERM during which requests are still accepted while `/readyz` reports 503.
        shutdown_seconds: time that requests in flight have after that.
    """

    confidence: Confidence | None = None
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
    drain_seconds: float = 0.0
    shutdown_seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value, whole = getattr(self, field.name), field.type is not float
            # Each network checks the confidence itself.
            if field.name == "confidence" or (value is None and field.name == "threads"):
                continue
            if whole:
                valid = is_integer(value)
            else:
                valid = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not valid or value < 0 or (value == 0 and field.name not in _MAY_BE_ZERO):
                bound = "of at least 0" if field.name in _MAY_BE_ZERO else "above 0"
                raise HdlifError(f"{field.name} = {brief(value)}; give {'an integer' if whole else 'a number'} {bound}")
