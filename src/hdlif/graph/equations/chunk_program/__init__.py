"""A step of a chunk, forwards and backwards, as operations one after the other, for kernels that know nothing else.

Both are programs of one form: `forward` computes what a step gives and what is saved of it, `backward` the gradients
of what it was given, from those of what it gave and from what was saved. Registers are, in this order, the streams,
which have a value for each neuron and step; the states, which one step leaves to the next one that runs, backwards the
gradients of the neuron's states; the rows; and one for each instruction.
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
