"""Runtime of deployed networks: `Session`; `Stream` and `FrameStream` for continuous input; `Learner`; the oracles.

Never imports torch. Names are imported lazily: the checks of a state need no image or stream.
"""

from hdlif import names_at

_AT = {
    "Early": "runtime.early",
    "Session": "runtime.session",
    "State": "runtime.state",
    "probabilities": "runtime.answers",
    **dict.fromkeys(("DEFAULT_MAX_BYTES", "DEFAULT_MAX_OPERATIONS"), "runtime.limits"),
    **dict.fromkeys(("Decision", "Stream"), "runtime.stream"),
    **dict.fromkeys(("Learner", "LearningRate"), "runtime.learning"),
    **dict.fromkeys(("FrameAnswer", "FrameStream"), "runtime.frame_stream"),
    **dict.fromkeys(("normalise", "read_image"), "runtime.images"),
}
"""Module of each name; `__init__.pyi` repeats this for type checkers."""

__all__ = [*_AT]

__getattr__ = names_at(__name__, _AT)
