"""Streams: sequences that continue from request to request, bounded in number, bytes and idle time."""

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
"""Bytes of a stream in addition to its network's states."""
MOST_IN_LINE = 64
"""Most waiting requests of one stream."""


class Stream:
    """A sequence of a network, and the requests that use it."""

    def __init__(self, id: str, network: Network, sequence: GoingOn) -> None:
        self.id, self.network, self.sequence = id, network, sequence
        self.bytes = sequence.held_bytes + OVERHEAD_BYTES
        self.turn = asyncio.Lock()
        self.in_line = self.users = 0
        self.used = 0.0
        self.ended = False


class Streams:
    """The open streams, the least recently used first.

    Args:
        now: returns the seconds of a clock.
    """

    def __init__(self, settings: Settings, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._metrics, self._now = settings, metrics, now
        self._open: OrderedDict[str, Stream] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, network: Network, content: bytes | None = None) -> Stream:
        """Open a stream at its first step, or where an exported one was.

        Raises:
            Refusal: there is no room for it.
            StateError: `content` is no state of the network.
        """
        self.end_idle()
        size = network.session.sequence_bytes + 4 * math.prod(network.session.output_shape) + OVERHEAD_BYTES
        most, most_bytes = self._settings.max_streams, self._settings.max_stream_bytes
        if len(self) >= most or self.bytes + size > most_bytes:
            raise Refusal(
                "streams_full",
                f"{len(self):,} streams of at most {most:,} are open, which hold {self.bytes:,} bytes of at most "
                f"{most_bytes:,}",
                {"Retry-After": "5"},
            )
        # Nobody can guess 128 random bits.
        stream = Stream(secrets.token_urlsafe(16), network, network.begin(content))
        stream.used = self._now()
        self._open[stream.id] = stream
        self.bytes += stream.bytes
        self._metrics.streams_begun.labels(network.name).inc()
        return stream

    @contextmanager
    def use(self, id: str) -> Iterator[Stream]:
        """Keep a stream from being ended as idle while a request of it arrives.

        Raises:
            Refusal: there is none.
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
        """Use a stream alone; further requests wait in the order in which they came.

        Raises:
            Refusal: there is none, or too many wait.
        """
        with self.use(id) as stream:
            if stream.in_line >= MOST_IN_LINE:
                raise Refusal(
                    "too_many_requests", f"{stream.in_line} requests of this stream wait already", {"Retry-After": "1"}
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
        """Close the streams that nobody has used for long."""
        before = self._now() - self._settings.stream_idle_seconds
        for stream in tuple(takewhile(lambda one: one.used <= before, self._open.values())):
            if not stream.users:
                self.end(stream, "idle")

    def describe(self, stream: Stream) -> dict[str, Any]:
        """Return a stream's record as a JSON object."""
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
