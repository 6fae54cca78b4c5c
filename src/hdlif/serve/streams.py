"""Streams by id: sequences that go on from request to request, within stated bounds of number, bytes and idle time."""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import takewhile

from hdlif.errors import brief
from hdlif.runtime.going_on import GoingOn
from hdlif.serve.metrics import Metrics
from hdlif.serve.models import Network
from hdlif.serve.refusals import Refusal
from hdlif.serve.settings import Settings

OVERHEAD_BYTES = 4096
"""What a stream takes beside its network's states, counted with them."""
MOST_IN_LINE = 64
"""Requests of one stream that wait for each other."""


class Stream:
    """A sequence, and whose turn it is."""

    def __init__(self, id: str, network: Network, sequence: GoingOn) -> None:
        self.id, self.network, self.sequence = id, network, sequence
        self.bytes = sequence.held_bytes + OVERHEAD_BYTES
        self.turn = asyncio.Lock()
        self.in_line = self.kept = 0
        self.used = 0.0
        self.ended = False


class Streams:
    """The open streams, the one longest unused first.

    Args:
        now: seconds of a clock.
    """

    def __init__(self, settings: Settings, metrics: Metrics, now: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._metrics, self._now = settings, metrics, now
        self._open: OrderedDict[str, Stream] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, network: Network, content: bytes | None = None) -> Stream:
        """A stream at its first step, or where an exported one was.

        Raises:
            Refusal: there is no room for it.
            StateError: `content` is no state of the network.
        """
        self.end_idle()
        size = network.session.sequence_bytes + 4 * len(network.session.labels) + OVERHEAD_BYTES
        most, most_bytes = self._settings.max_streams, self._settings.max_stream_bytes
        if len(self._open) >= most or self.bytes + size > most_bytes:
            raise Refusal(
                "streams_full",
                f"{len(self._open):,} streams of at most {most:,} are open, which hold {self.bytes:,} bytes of at most "
                f"{most_bytes:,}",
                {"Retry-After": "5"},
            )
        # 128 random bits: who does not know an id does not find the stream.
        stream = Stream(secrets.token_urlsafe(16), network, GoingOn(network.session, network.digest, content))
        stream.used = self._now()
        self._open[stream.id] = stream
        self.bytes += stream.bytes
        self._metrics.begun(network.name)
        return stream

    @contextmanager
    def kept(self, id: str) -> Iterator[Stream]:
        """The stream, which is not ended as idle meanwhile: a request of it is on its way.

        Raises:
            Refusal: there is none.
        """
        stream = self._found(id)
        stream.kept += 1
        try:
            yield stream
        finally:
            stream.kept -= 1
            stream.used = self._now()
            if not stream.ended:
                self._open.move_to_end(id)

    @asynccontextmanager
    async def in_turn(self, id: str) -> AsyncIterator[Stream]:
        """The stream, for one request alone: others wait, in the order in which they came.

        Raises:
            Refusal: there is none, or too many wait.
        """
        with self.kept(id) as stream:
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
        """Let a stream go."""
        stream.ended = True
        del self._open[stream.id]
        self.bytes -= stream.bytes
        self._metrics.ended(reason)

    def end_idle(self) -> None:
        """Let those go that nobody has used for long."""
        before = self._now() - self._settings.stream_idle_seconds
        for stream in tuple(takewhile(lambda one: one.used <= before, self._open.values())):
            if not stream.kept:
                self.end(stream, "idle")

    def _found(self, id: str) -> Stream:
        self.end_idle()
        stream = self._open.get(id)
        if stream is None:
            raise _unknown(id)
        return stream


def _unknown(id: str) -> Refusal:
    return Refusal("unknown_stream", f"there is no stream {brief(id)}")
