"""Running a deployed network: `Session` (compiled), `reference` (NumPy, the oracle). Never imports torch."""

from hdlif.runtime.images import normalise, read_image
from hdlif.runtime.session import DEFAULT_MAX_BYTES, DEFAULT_MAX_OPERATIONS, Session, probabilities
from hdlif.runtime.state import State

__all__ = [
    "DEFAULT_MAX_BYTES",
    "DEFAULT_MAX_OPERATIONS",
    "Session",
    "State",
    "normalise",
    "probabilities",
    "read_image",
]
