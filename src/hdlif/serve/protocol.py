"""uvicorn's HTTP/1.1 with the patience of a server that strangers reach.

uvicorn waits for as long as a byte comes now and then, answers what is no HTTP in plain text, and holds a connection
whose client does not read. Here a request has come whole within `receive_seconds` of its first byte, a connection
is silent for `keep_alive_seconds` at the most, and one that takes no bytes of an answer for `send_seconds` is cut.
"""

import asyncio
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hdlif.serve.metrics import Metrics
from hdlif.serve.refusals import JSON_TYPE, Refusal
from hdlif.serve.settings import Settings

MOST_HEADER_BYTES = 2**14
"""Of a request's first line and headers, and of a line of a chunked body."""
_LAST_SECONDS = 1.0
"""For which a client may still read why the server did not answer."""


def protocol(settings: Settings, metrics: Metrics) -> type[H11Protocol]:
    """The protocol class that uvicorn makes of each connection."""

    class Granted(Bounded):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.settings, self.metrics = settings, metrics

    return Granted


class Bounded(H11Protocol):
    """A connection whose client has so much time, and no more."""

    settings: Settings
    metrics: Metrics

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._deadline: asyncio.TimerHandle | None = None
        self._cut: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
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
        super().handle_events()
        if self._is_whole():
            self._deadline = _cancel(self._deadline)
        elif self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.settings.receive_seconds, self._too_slow)

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
        super().shutdown()
        if self.transport.is_closing():
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
