"""uvicorn's HTTP/1.1 with the patience of a server that strangers reach.

uvicorn waits for as long as a byte comes now and then, answers what is no HTTP in plain text, and holds a connection
whose client does not read. Here a request has come whole within `receive_seconds` of its first byte, a connection
is silent for `keep_alive_seconds` at the most, and one that takes no bytes of an answer for `send_seconds` is cut.
h11 in turn limits only headers that come in several reads, takes a request of two lengths, and parses all that has come
in one turn of the loop, however many chunks that is.
"""

import asyncio
import sys
from typing import Any

import h11
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from hdlif.serve.metrics import Metrics
from hdlif.serve.refusals import JSON_TYPE, Refusal
from hdlif.serve.settings import Settings

MOST_HEADER_BYTES = 2**14
"""Of a request's first line and headers, and of a line of a chunked body."""
_LAST_SECONDS = 1.0
"""For which a client may still read why the server did not answer, or send a request that is refused."""
_MOST_EVENTS = 64
"""Parts of requests, such as chunks, that a connection parses in one turn of the loop: about a millisecond's."""


def protocol(settings: Settings, metrics: Metrics) -> type[H11Protocol]:
    """The protocol class that uvicorn makes of each connection."""

    class Granted(Bounded):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.settings, self.metrics = settings, metrics

    return Granted


class _Connection(h11.Connection):
    """h11 that refuses what it takes, and stops after `_MOST_EVENTS`.

    Attributes:
        events: parsed in this turn of the loop.
    """

    events = 0

    def next_event(self) -> Any:
        """The next event; NEED_DATA where there were enough of them."""
        if self.events >= _MOST_EVENTS:
            return h11.NEED_DATA
        self.events += 1
        before = len(self.trailing_data[0]) if self.their_state is h11.IDLE else 0
        event = super().next_event()
        if isinstance(event, h11.Request):
            if before - len(self.trailing_data[0]) > MOST_HEADER_BYTES:
                raise h11.RemoteProtocolError("the headers are too large", error_status_hint=431)
            if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                raise h11.RemoteProtocolError("it has both Content-Length and Transfer-Encoding")
        return event


class _Flow(FlowControl):
    """Reads no more while parts that have come wait for their turn.

    Attributes:
        full: whether they do.
    """

    full = False

    def resume_reading(self) -> None:
        if not self.full:
            super().resume_reading()


class Bounded(H11Protocol):
    """A connection whose client has so much time, and no more."""

    settings: Settings
    metrics: Metrics
    conn: _Connection
    flow: _Flow

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = _Connection(h11.SERVER, MOST_HEADER_BYTES)
        self._deadline: asyncio.TimerHandle | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = _Flow(transport)
        most = self.settings.max_connections
        if len(self.connections) > most:
            self.metrics.cut("too many connections")
            self._refuse(Refusal("overloaded", f"{most:,} connections are open", {"Retry-After": "1"}))
            return
        self.timeout_keep_alive_task = self.loop.call_later(
            self.settings.keep_alive_seconds, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        self._deadline = _cancel(self._deadline)
        self._cut = _cancel(self._cut)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)

    def handle_events(self) -> None:
        self.conn.events = 0
        super().handle_events()
        if self.conn.events >= _MOST_EVENTS and not self.flow.full and not self.transport.is_closing():
            self.flow.pause_reading()
            self.flow.full = True
            self.loop.call_soon(self._go_on)
        if self._is_whole():
            self._deadline = _cancel(self._deadline)
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.settings.receive_seconds, self._too_slow)

    def _go_on(self) -> None:
        """Parse more of what has come."""
        self.flow.full = False
        if self.transport.is_closing():
            return
        self.handle_events()
        # After a whole request, reading goes on once it has been answered.
        if self.conn.their_state is not h11.DONE:
            self.flow.resume_reading()

    def send_400_response(self, msg: str) -> None:
        error = sys.exc_info()[1]
        too_large = isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431
        if too_large:
            refusal = Refusal("headers_too_large", f"the headers have more than {MOST_HEADER_BYTES:,} bytes")
        else:
            refusal = Refusal("bad_request", f"what came is not HTTP/1.1 ({error})")
        self.metrics.cut(refusal.code)
        self._refuse(refusal)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            self._let_go()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._let_go()

    def shutdown(self) -> None:
        """End the connection with the answer to its request; without one a little later, for one may be coming."""
        if self.cycle is not None and not self.cycle.response_complete:
            super().shutdown()
        else:
            self.loop.call_later(_LAST_SECONDS, self._close_idle)

    def _close_idle(self) -> None:
        # A request that has begun is refused when it has come whole.
        if not self.transport.is_closing() and self._is_whole():
            super().shutdown()
            self._let_go()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._cut is None:
            self._cut = self.loop.call_later(self.settings.send_seconds, self._not_reading)

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._cut = _cancel(self._cut)

    def give_up(self) -> None:
        """Refuse what is in flight: the server ends."""
        waits = self.cycle is not None and not self.cycle.response_complete
        if not self.transport.is_closing() and (waits or not self._is_whole()):
            self._refuse(Refusal("draining", "the server ends before the request has been answered"))
        self.transport.close()
        self._cut = _cancel(self._cut)
        self._cut = self.loop.call_later(_LAST_SECONDS, self._not_reading)

    def _is_whole(self) -> bool:
        """Whether no request is half received."""
        state = self.conn.their_state
        return state is not h11.SEND_BODY and not (state is h11.IDLE and self.conn.trailing_data[0])

    def _too_slow(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        self.metrics.cut("too_slow")
        seconds = self.settings.receive_seconds
        self._refuse(Refusal("too_slow", f"the request has not come whole within {seconds:g} seconds"))

    def _not_reading(self) -> None:
        self.metrics.cut("not_reading")
        self.transport.abort()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer in the place of the application, which is told that the client has gone, and end the connection."""
        self._refused = True
        self.metrics.refused(refusal.code)
        # Otherwise an answer is on its way already, or has been given.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = refusal.as_bytes()
            headers = {
                "content-type": JSON_TYPE.decode(),
                "content-length": str(len(body)),
                "connection": "close",
                **refusal.headers,
            }
            parts = (
                h11.Response(status_code=refusal.status, headers=list(headers.items())),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(self.conn.send(part) or b"" for part in parts))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self._unset_keepalive_if_required()
        self.transport.close()
        self._let_go()

    def _let_go(self) -> None:
        """A closed connection whose client takes no more bytes is not waited for without end."""
        if self._cut is None:
            self._cut = self.loop.call_later(self.settings.send_seconds, self._not_reading)


def _cancel(timer: asyncio.TimerHandle | None) -> asyncio.TimerHandle | None:
    """What takes the place of a timer that is no longer to ring."""
    if timer is not None:
        timer.cancel()
    return None
