"""Run deployed networks.

`Session` runs networks, `Stream` and `FrameStream` handle continuous input, and `Learner` trains on the device.
`reference` and `reference_learning` are slow, simple oracles for tests. The package `hdlif.runtime` never imports
torch, and imports each submodule only when one of its names is used.
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
"""Module of each public name; `__init__.pyi` repeats these names for type checkers."""

__all__ = [*_AT]

__getattr__ = names_at(__name__, _AT)
