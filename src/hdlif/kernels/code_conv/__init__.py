"""A convolution of codes by low-bit weights: sums of integers, which are exact, and gradients that touch no zero.

Quantised spikes are codes c of 0..15, say, with a step; weights of 1 or 1.5 bits are codes of -1, 0 and 1 with scales.
Their convolution is y = step·scale·Σ c·w, whose sums are integers below 2^24 and the same in any order. The compiled
kernels look the products of two channels up at once and skip the codes that are 0, as those of the runtime do. Back,
each spike that is not 0 adds what comes back around it to the gradient of the weights, and the gradient of the spikes
is computed only where one can reach the neuron.
"""

from hdlif.kernels.code_conv.codes import (
    CodedSpikes,
    Codes,
    can_be_quantised,
    channels_last,
    code_room,
    coded,
    codes_of,
    marked,
    pooled,
    quantised,
)
from hdlif.kernels.code_conv.conv import (
    CodeConv,
    convolved,
    convolved_with_moments,
    hindrance,
    keep_packed,
    out_size_of,
    summed,
)

__all__ = [
    "CodeConv",
    "CodedSpikes",
    "Codes",
    "can_be_quantised",
    "channels_last",
    "code_room",
    "coded",
    "codes_of",
    "convolved",
    "convolved_with_moments",
    "hindrance",
    "keep_packed",
    "marked",
    "out_size_of",
    "pooled",
    "quantised",
    "summed",
]
