"""Runtime of deployed networks: `Session`; `Stream` and `FrameStream` for continuous input; `reference`, the oracle.

Never imports torch.
"""

from hdlif.runtime.answers import probabilities
from hdlif.runtime.early import Early
from hdlif.runtime.frame_stream import FrameAnswer, FrameStream
from hdlif.runtime.images import normalise, read_image
from hdlif.runtime.limits import DEFAULT_MAX_BYTES, DEFAULT_MAX_OPERATIONS
from hdlif.runtime.session import Session
from hdlif.runtime.state import State
from hdlif.runtime.stream import Decision, Stream

__all__ = [
    "DEFAULT_MAX_BYTES",
    "DEFAULT_MAX_OPERATIONS",
    "Decision",
    "Early",
    "FrameAnswer",
    "FrameStream",
    "Session",
    "State",
    "Stream",
    "normalise",
    "probabilities",
    "read_image",
]
