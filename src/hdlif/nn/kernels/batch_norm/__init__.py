"""Batch norm on a CPU as three rows per channel, scale·(x - mean) + shift.

Either the next neuron applies the rows, or a pass over the maps does, which can also add another summand, such as the
other branch of a residual block. The statistics come from sums over a batch, which a convolution of codes returns with
its maps. In the backward pass one pass adds the part of the gradient that comes through the statistics.
"""

from hdlif.nn.kernels.batch_norm.native import Moments, moments_of
from hdlif.nn.kernels.batch_norm.norm import Norm, Rows, apply_norm, apply_rows

__all__ = ["Moments", "Norm", "Rows", "apply_norm", "apply_rows", "moments_of"]
