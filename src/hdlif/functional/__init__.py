"""The mathematics as pure functions: neurons, surrogates, quantisers."""

from hdlif.functional.forward_mode import forward_mode_gradient
from hdlif.functional.neurons import (
    DetachedReset,
    GLIFParameters,
    HardReset,
    Reset,
    glif_step,
    graded_lif_step,
    hd_lif_inverse_step,
    hd_lif_step,
    lif_step,
    parallel_hd_lif_step,
    soft_reset,
    unit_lif_step,
)
from hdlif.functional.quantizers import (
    StraightThrough,
    binarize_weight,
    binary_codes,
    integer_codes,
    quantize_spike,
    quantize_weight,
    spike_codes,
    ternarize_weight,
    ternary_codes,
)
from hdlif.functional.sequence import TimePath, hd_lif_sequence
from hdlif.functional.surrogate import ATan, Rectangle, Sigmoid, Surrogate, Triangle, dspike, heaviside

__all__ = [
    "ATan",
    "DetachedReset",
    "GLIFParameters",
    "HardReset",
    "Rectangle",
    "Reset",
    "Sigmoid",
    "StraightThrough",
    "Surrogate",
    "TimePath",
    "Triangle",
    "binarize_weight",
    "binary_codes",
    "dspike",
    "forward_mode_gradient",
    "glif_step",
    "graded_lif_step",
    "hd_lif_inverse_step",
    "hd_lif_sequence",
    "hd_lif_step",
    "heaviside",
    "integer_codes",
    "lif_step",
    "parallel_hd_lif_step",
    "quantize_spike",
    "quantize_weight",
    "soft_reset",
    "spike_codes",
    "ternarize_weight",
    "ternary_codes",
    "unit_lif_step",
]
