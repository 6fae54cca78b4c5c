"""Batch norm as three rows of a channel, scale·(x - mean) + shift, applied by what runs next or in a pass of its own.

Its statistics come from sums over a batch, which a convolution of codes gives along with its maps. Where a neuron
applies the rows, the gradient of x through it is given, and the part that comes through the statistics is added to it
in one pass. On a CPU the compiled kernels do it, on a GPU Triton's. The norm's own pass, the CPU's alone, adds what
stands behind it as well, such as the other branch of a residual block.
"""

from hdlif.kernels.batch_norm.applied import applied, applied_with_graph
from hdlif.kernels.batch_norm.moments import Moments
from hdlif.kernels.batch_norm.norm import Norm, Rows, moments_of, serves

__all__ = ["Moments", "Norm", "Rows", "applied", "applied_with_graph", "moments_of", "serves"]
