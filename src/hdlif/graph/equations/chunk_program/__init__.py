"""Forward and backward programs of a step in a chunk, for the native kernels.

Both have one form: `forward` computes a step's results and the values saved for backward; `backward` computes the
gradients of the step's inputs from those of its results and the saved values. Registers are, in this order: streams,
with a value per neuron and step; states, passed from each step to the next one that runs (in `backward`, the
gradients of the neuron's states); rows; and one register per instruction.
"""

from hdlif.graph.equations.chunk_program.backward import Backward, Levels, backward, forward
from hdlif.graph.equations.chunk_program.writing import (
    ENCODINGS,
    OPERATIONS,
    ChunkInstruction,
    ChunkProgram,
    StreamEncoding,
    encoded,
    encoding_of,
)

__all__ = [
    "ENCODINGS",
    "OPERATIONS",
    "Backward",
    "ChunkInstruction",
    "ChunkProgram",
    "Levels",
    "StreamEncoding",
    "backward",
    "encoded",
    "encoding_of",
    "forward",
]
