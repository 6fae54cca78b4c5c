"""Batch norm as three rows of a channel, scale·(x - mean) + shift, which whatever runs next may apply.

Its statistics come from sums over a batch, which a convolution of codes gives along with its maps. Back, the gradient
of x through what applied the rows is given; the part that comes through the statistics is added to it in one pass.
On a CPU the compiled kernels do it, on a GPU Triton's.
"""

from hdlif.kernels.batch_norm.moments import Moments
from hdlif.kernels.batch_norm.norm import Norm, Rows, moments_of, serves

__all__ = ["Moments", "Norm", "Rows", "moments_of", "serves"]
