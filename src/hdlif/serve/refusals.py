"""What a client is told where a request is not answered: a code, what was seen, and how to mend it, as JSON."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from hdlif.errors import (
    AllocationError,
    ArtefactError,
    HdlifError,
    InputError,
    LimitError,
    ShapeError,
    StateError,
    printable,
)

JSON_TYPE = b"application/json"


@dataclass(frozen=True)
class Kind:
    """A kind of refusal.

    Attributes:
        status: of HTTP.
        mend: what the client can do.
    """

    status: int
    mend: str


KINDS: Mapping[str, Kind] = {
    "bad_request": Kind(400, "send HTTP/1.1 as RFC 9112 has it"),
    "bad_json": Kind(
        400,
        'send {"values": [...]}, numbers in lists, with "type": "uint8" for pixels; of named columns also '
        '[{"NAME": 1.5, ...}, ...]',
    ),
    "bad_parameter": Kind(400, "give parameters as /openapi.json describes them"),
    "unauthorised": Kind(401, "send the header Authorization: Bearer TOKEN, with the token of the server's file"),
    "unknown_path": Kind(404, "/openapi.json describes all paths"),
    "unknown_model": Kind(404, "GET /v1/models lists the models"),
    "unknown_stream": Kind(404, "it was ended, or idle for too long; begin one, from an exported state if you have it"),
    "method_not_allowed": Kind(405, "use a method that the header Allow names"),
    "too_slow": Kind(408, "send the request at once, or in smaller parts"),
    "wrong_step": Kind(409, "GET the stream to see where it is, and send the steps from there on"),
    "body_too_large": Kind(413, "send less at once"),
    "unknown_content_type": Kind(
        415,
        "say in the header Content-Type what is sent, as in curl -H 'Content-Type: text/csv' --data-binary @FILE URL",
    ),
    "input_refused": Kind(422, "GET /v1/models/MODEL says what the network takes"),
    "image_too_large": Kind(422, "send a smaller image"),
    "too_many_inputs": Kind(422, "send fewer at once"),
    "too_much_work": Kind(422, "send fewer steps or inputs at once"),
    "state_refused": Kind(422, "send what GET /v1/streams/STREAM/state gave, unchanged, to the same model"),
    "answer_not_finite": Kind(422, "normalise the values as in the network's training"),
    "artefact_refused": Kind(422, "mend the file and reload; the model goes on as it was"),
    "too_many_requests": Kind(429, "send fewer, after the seconds of the header Retry-After"),
    "headers_too_large": Kind(431, "send fewer and shorter headers"),
    "internal": Kind(500, "this is a fault of the server, whose log says more; try something else"),
    "overloaded": Kind(503, "try again after the seconds of the header Retry-After, or at another server"),
    "networks_full": Kind(503, "wait until streams of networks that were exchanged have ended, or end them"),
    "streams_full": Kind(503, "end streams that are done with, or try again later, or at another server"),
    "no_memory": Kind(503, "send less at once, or try again later"),
    "draining": Kind(503, "go to another server: this one is ending"),
}
"""By code."""


@dataclass
class Refusal(Exception):  # noqa: N818 - what a client is told, and no fault
    """A request that is not answered.

    Attributes:
        code: one of `KINDS`.
        message: what was seen, and what is accepted.
        headers: that go with it.
    """

    code: str
    message: str
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """Of HTTP."""
        return KINDS[self.code].status

    def as_dict(self) -> dict[str, str]:
        """As JSON has it."""
        return {"code": self.code, "message": printable(self.message), "mend": KINDS[self.code].mend}

    def as_bytes(self) -> bytes:
        """The body of the answer."""
        return json.dumps(self.as_dict()).encode()


def refusal_of(error: HdlifError) -> Refusal:
    """What is said of one of our errors; of one that no input should raise, that it is the server's fault."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return Refusal(code, str(error))
    return Refusal("internal", "the server failed")


_CODES: tuple[tuple[type[HdlifError], str], ...] = (
    (AllocationError, "no_memory"),
    (ArtefactError, "artefact_refused"),
    (InputError, "input_refused"),
    (LimitError, "too_much_work"),
    (ShapeError, "input_refused"),
    (StateError, "state_refused"),
)
