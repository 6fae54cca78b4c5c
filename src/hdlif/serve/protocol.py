"""Add deadlines and JSON errors to uvicorn's HTTP/1.1 protocol.

uvicorn and h11 limit the size of headers and close idle connections after a response. However, uvicorn has no deadline
for slow requests or unread responses, and no limit on open connections. In addition, h11 parses all received data in
one iteration of the event loop, which takes a second for 256 KiB of one-byte chunks.
"""

import asyncio
import sys

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from hdlif.serve.metrics import Metrics
from hdlif.serve.refusals import Refusal
from hdlif.serve.settings import Settings

MOST_HEADER_BYTES = 2**14
"""Maximum size in bytes of a request's first line and headers, and of a line in a chunked body."""
_HEADER_READ, _CHUNKED_READ, _BODY_READ = 2**12, 2**10, 2**16
"""Maximum bytes per read of headers, of a chunked body (a few milliseconds of parsing), and of other bodies."""


class Protocol(H11Protocol, asyncio.BufferedProtocol):
    """A connection with time limits within which a client must send requests and read responses."""

    settings: Settings
    metrics: Metrics
    _buffer = memoryview(bytearray(_BODY_READ))
    """Buffer that all connections share; the data in it are parsed before the next read."""
    _receive_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Any unread byte of a response starts the timer in `pause_writing`.
        transport.set_write_buffer_limits(high=0)
        most = self.settings.max_connections
        if len(self.connections) > most:
            self._refuse(
                Refusal("overloaded", f"{most:,} connections are open", {"Retry-After": "1"}), "too many connections"
            )
            return
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        self._stop_receive_timer()
        self.resume_writing()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return a buffer for the next read, small enough that parsing does not delay other connections."""
        if self.conn.their_state is not h11.SEND_BODY:
            return self._buffer[:_HEADER_READ]
        chunked = any(name == b"transfer-encoding" for name, _ in self.headers)
        return self._buffer[: _CHUNKED_READ if chunked else _BODY_READ]

    def buffer_updated(self, nbytes: int) -> None:
        """Parse the first `nbytes` bytes of the buffer."""
        self.data_received(bytes(self._buffer[:nbytes]))

    def handle_events(self) -> None:
        super().handle_events()
        state = self.conn.their_state
        if state is not h11.SEND_BODY and not (state is h11.IDLE and self.conn.trailing_data[0]):
            self._stop_receive_timer()
        elif self._receive_timer is None and not self.transport.is_closing():
            self._receive_timer = self.loop.call_later(self.settings.receive_seconds, self._refuse_slow_request)

    def send_400_response(self, msg: str) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, h11.RemoteProtocolError) and error.error_status_hint == 431:
            refusal = Refusal("headers_too_large", f"the headers have more than {MOST_HEADER_BYTES:,} bytes")
        else:
            refusal = Refusal("bad_request", f"the request is not HTTP/1.1 ({error})")
        self._refuse(refusal, refusal.code)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_timer = self.loop.call_later(self.settings.send_seconds, self._abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._send_timer is not None:
            self._send_timer.cancel()

    def _stop_receive_timer(self) -> None:
        if self._receive_timer is not None:
            self._receive_timer.cancel()
            self._receive_timer = None

    def _refuse_slow_request(self) -> None:
        seconds = self.settings.receive_seconds
        self._refuse(Refusal("too_slow", f"the complete request did not arrive within {seconds:g} seconds"), "too_slow")

    def _abort(self) -> None:
        self.metrics.connections_cut.labels("not_reading").inc()
        self.transport.abort()

    def _refuse(self, refusal: Refusal, reason: str) -> None:
        """Send an error, close the connection, and report to the application that the client has disconnected."""
        if self.transport.is_closing():
            return
        self.metrics.connections_cut.labels(reason).inc()
        self.metrics.refused.labels(refusal.code).inc()
        # In other states, a response has been sent or is being sent.
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            headers = [*refusal.headers, (b"connection", b"close")]
            parts = (
                h11.Response(status_code=refusal.status, headers=headers),
                h11.Data(data=refusal.body),
                h11.EndOfMessage(),
            )
            self.transport.write(b"".join(self.conn.send(part) or b"" for part in parts))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()
