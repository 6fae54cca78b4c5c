"""Weights of 1 and 1.5 bits, with straight-through gradients, in few passes over the latent ones.

On a CPU the compiled kernels make those of 1.5 bits, on a GPU Triton's make both; elsewhere, and as the oracle of all,
`functional.binarize_weight` and `functional.ternarize_weight` do.
"""

from hdlif.kernels.weights.binary import binarized
from hdlif.kernels.weights.ternary import ternarized

__all__ = ["binarized", "ternarized"]
