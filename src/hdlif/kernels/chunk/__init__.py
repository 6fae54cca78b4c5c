"""A step as it is written over a whole chunk, in one function with a backward pass of its own.

Under autograd each operation of each step saves what its own derivative reads. Here the chunk runs without a graph, and
saves what `equations.Saving` lists: nothing twice, of a choice one bit, and nothing that follows from the rest.
Backward, the steps run in reverse, from the gradient of a state to that of the step before. Values are those of the
step, and so is what its derivatives read; gradients differ from autograd's by the order of their sums.
"""

from hdlif.kernels.chunk.step import FusedStep

__all__ = ["FusedStep"]
