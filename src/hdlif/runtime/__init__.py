"""Running a deployed network: `Session` (compiled), `reference` (NumPy, the oracle). Never imports torch."""

from hdlif.runtime.images import normalise, read_image
from hdlif.runtime.session import Session, probabilities
from hdlif.runtime.state import State

__all__ = ["Session", "State", "normalise", "probabilities", "read_image"]
