"""Define the JSON errors that clients receive when the server rejects a request."""

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from hdlif.errors import AllocationError, HdlifError, InputError, LimitError, ShapeError, StateError, printable

JSON = "application/json"
LOG = logging.getLogger("hdlif.serve")

KINDS: Mapping[str, tuple[int, str]] = {
    "bad_request": (400, "send HTTP/1.1 as RFC 9112 defines it"),
    "bad_json": (
        400,
        'send {"values": [...]}, numbers in lists, with "type": "uint8" for pixels; of named columns also '
        '[{"NAME": 1.5, ...}, ...]',
    ),
    "bad_parameter": (400, "give parameters as /openapi.json describes them"),
    "unknown_path": (404, "/openapi.json describes all paths"),
    "unknown_model": (404, "GET /v1/models lists the models"),
    "unknown_stream": (
        404,
        "the stream was ended, or was idle for too long; begin a new one, from an exported state if you have one",
    ),
    "method_not_allowed": (405, "use a method that the header Allow names"),
    "too_slow": (408, "send the request at once, or in smaller parts"),
    "already_sure": (409, "begin another stream; the last prediction of this one is final"),
    "wrong_step": (409, "GET the stream for its current step, and send the steps from there"),
    "body_too_large": (413, "send less at once"),
    "unknown_content_type": (
        415,
        "give the body's type in a header, as in curl -H 'Content-Type: text/csv' --data-binary @FILE URL",
    ),
    "input_refused": (422, "GET /v1/models/MODEL describes the network's input"),
    "image_too_large": (422, "send a smaller image"),
    "too_many_inputs": (422, "send fewer at once"),
    "too_much_work": (422, "send fewer steps or inputs at once"),
    "state_refused": (422, "send the body of GET /v1/streams/STREAM/state, unchanged, to the same model"),
    "answer_not_finite": (422, "normalise the values as in the network's training"),
    "too_many_requests": (429, "send fewer, after the seconds of the header Retry-After"),
    "headers_too_large": (431, "send fewer and shorter headers"),
    "internal": (500, "this is a server error, and the server's log has the details; try another request"),
    "overloaded": (503, "try again after the seconds of the header Retry-After, or at another server"),
    "streams_full": (503, "end streams that you no longer need, or try again later, or at another server"),
    "no_memory": (503, "send less at once, or try again later"),
    "draining": (503, "send the request to another server; this one is shutting down"),
}
"""HTTP status of each error code, and advice to the client."""


@dataclass
class Refusal(Exception):  # noqa: N818 - an answer to a client, not a fault
    """The error response to a rejected request.

    Attributes:
        code: one of `KINDS`.
        message: the problem and the accepted input.
        extra_headers: additional headers of the response.
    """

    code: str
    message: str
    extra_headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return KINDS[self.code][0]

    @cached_property
    def body(self) -> bytes:
        """The response's body."""
        said = {"code": self.code, "message": printable(self.message), "fix": KINDS[self.code][1]}
        return json.dumps(said).encode()

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The response's headers."""
        found = {"content-type": JSON, "content-length": str(len(self.body)), **self.extra_headers}
        return [(name.lower().encode(), value.encode()) for name, value in found.items()]


_CODES: tuple[tuple[type[HdlifError], str], ...] = (
    (AllocationError, "no_memory"),
    (InputError, "input_refused"),
    (LimitError, "too_much_work"),
    (ShapeError, "input_refused"),
    (StateError, "state_refused"),
)


def refuse(error: BaseException) -> Refusal:
    """Return the response for an error. Server errors are logged, but clients receive no details of them."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, asyncio.CancelledError):
        return Refusal("draining", "the server shuts down before the request is complete")
    for kind, code in _CODES:
        if isinstance(error, kind):
            return Refusal(code, str(error))
    if isinstance(error, MemoryError):
        LOG.error("a request failed: the machine does not have enough free memory for it")
        return Refusal("no_memory", "the machine does not have enough free memory for this")
    LOG.error("a request failed", exc_info=error)
    return Refusal("internal", "the server failed")
