"""Streams: sequences that continue across requests, with limits on their number, memory and idle time."""

import asyncio
import math
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import takewhile
from typing import Any

from hdlif.errors import brief
from hdlif.runtime.going_on import GoingOn
from hdlif.serve.metrics import Metrics
from hdlif.serve.models import Network
from hdlif.serve.refusals import Refusal
from hdlif.serve.settings import Settings

OVERHEAD_BYTES = 4096
"""Memory of a stream in bytes, in addition to the states of its network."""
MOST_IN_LINE = 64
"""Maximum number of waiting requests per stream."""


class Stream:
    """An open sequence of a network, with a count of the requests that are using it."""

    def __init__(self, id: str, network: Network, sequence: GoingOn) -> None:
        self.id, self.network, self.sequence = id, network, sequence
        self.bytes = sequence.held_bytes + OVERHEAD_BYTES
        self.turn = asyncio.Lock()
        self.in_line = self.users = 0
        self.used = 0.0
        self.ended = False


class Streams:
    """The open streams, ordered from least to most recently used.

    Args:
        now: returns the time in seconds.
    """

    def __init__(self, settings: Settings, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._metrics, self._now = settings, metrics, now
        self._open: OrderedDict[str, Stream] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, network: Network, content: bytes | None = None) -> Stream:
        """Open a new stream, or continue the exported stream in `content`.

        Raises:
            Refusal: too many streams are open, or they take too many bytes.
            StateError: `content` is not a state of the network.
        """
        self.end_idle()
        size = network.session.sequence_bytes + 4 * math.prod(network.session.output_shape) + OVERHEAD_BYTES
        most, most_bytes = self._settings.max_streams, self._settings.max_stream_bytes
        if len(self) >= most or self.bytes + size > most_bytes:
            raise Refusal(
                "streams_full",
                f"{len(self):,} of at most {most:,} streams are open, with {self.bytes:,} of at most "
                f"{most_bytes:,} bytes",
                {"Retry-After": "5"},
            )
        # Use 128 random bits, which nobody can guess.
        stream = Stream(secrets.token_urlsafe(16), network, network.begin(content))
        stream.used = self._now()
        self._open[stream.id] = stream
        self.bytes += stream.bytes
        self._metrics.streams_begun.labels(network.name).inc()
        return stream

    @contextmanager
    def use(self, id: str) -> Iterator[Stream]:
        """Keep a stream open while a request is using it.

        Raises:
            Refusal: there is no such stream.
        """
        self.end_idle()
        if id not in self._open:
            raise _unknown(id)
        stream = self._open[id]
        stream.users += 1
        try:
            yield stream
        finally:
            stream.users -= 1
            stream.used = self._now()
            if not stream.ended:
                self._open.move_to_end(id)

    @asynccontextmanager
    async def turn(self, id: str) -> AsyncIterator[Stream]:
        """Lock a stream for one request; other requests for it wait in order of arrival.

        Raises:
            Refusal: there is no such stream, or too many requests are waiting.
        """
        with self.use(id) as stream:
            if stream.in_line >= MOST_IN_LINE:
                raise Refusal(
                    "too_many_requests",
                    f"{stream.in_line} requests of this stream are already waiting",
                    {"Retry-After": "1"},
                )
            stream.in_line += 1
            try:
                async with stream.turn:
                    if stream.ended:
                        raise _unknown(id)
                    yield stream
            finally:
                stream.in_line -= 1

    def end(self, stream: Stream, reason: str = "client") -> None:
        """Close a stream."""
        stream.ended = True
        del self._open[stream.id]
        self.bytes -= stream.bytes
        self._metrics.streams_ended.labels(reason).inc()

    def end_idle(self) -> None:
        """Close the streams that have been unused for `stream_idle_seconds`."""
        before = self._now() - self._settings.stream_idle_seconds
        for stream in tuple(takewhile(lambda one: one.used <= before, self._open.values())):
            if not stream.users:
                self.end(stream, "idle")

    def describe(self, stream: Stream) -> dict[str, Any]:
        """Describe a stream as a JSON object."""
        return {
            "stream": stream.id,
            "model": stream.network.name,
            "digest": stream.network.digest,
            "t": stream.sequence.t,
            "sure": stream.sequence.is_sure,
            "bytes": stream.bytes,
            "idle_seconds": self._settings.stream_idle_seconds,
        }


def _unknown(id: str) -> Refusal:
    return Refusal("unknown_stream", f"there is no stream {brief(id)}")
