"""Convolution of codes by low-bit weights on a CPU: exact sums of integers, and gradients that skip zeros.

Quantised spikes are codes c, such as 0..15, with a step. Weights of 1 or 1.5 bits are codes -1, 0 and 1 with scales.
Their convolution is y = step·scale·Σ c·w; the sums are integers below 2^24 and the same in any order. As in the
runtime, the compiled kernels look up the products of two channels together and skip codes that are 0. In the backward
pass each spike above 0 adds the output gradients around it to the gradient of the weights. The gradient of the spikes
is computed only if it can reach the neuron.
"""

from hdlif.nn.kernels.code_conv.codes import (
    CodedSpikes,
    Codes,
    can_be_quantised,
    channels_last,
    code_room,
    codes_of,
    mark,
    pool_codes,
    quantise,
    quantise_to_codes,
)
from hdlif.nn.kernels.code_conv.conv import (
    CodeConv,
    convolve,
    convolve_with_moments,
    hindrance,
    keep_packed,
    out_size_of,
    sum_products,
)

__all__ = [
    "CodeConv",
    "CodedSpikes",
    "Codes",
    "can_be_quantised",
    "channels_last",
    "code_room",
    "codes_of",
    "convolve",
    "convolve_with_moments",
    "hindrance",
    "keep_packed",
    "mark",
    "out_size_of",
    "pool_codes",
    "quantise",
    "quantise_to_codes",
    "sum_products",
]
