"""The mathematics as pure functions: neurons, surrogates, quantisers."""

from hdlif.functional.neurons import (
    DetachedReset,
    HardReset,
    Reset,
    hd_lif_step,
    lif_step,
    parallel_hd_lif_step,
    soft_reset,
)
from hdlif.functional.quantizers import (
    binarize_weight,
    binary_codes,
    quantize_spike,
    spike_codes,
    ternarize_weight,
    ternary_codes,
)
from hdlif.functional.surrogate import ATan, Rectangle, Sigmoid, Surrogate, Triangle, heaviside

__all__ = [
    "ATan",
    "DetachedReset",
    "HardReset",
    "Rectangle",
    "Reset",
    "Sigmoid",
    "Surrogate",
    "Triangle",
    "binarize_weight",
    "binary_codes",
    "hd_lif_step",
    "heaviside",
    "lif_step",
    "parallel_hd_lif_step",
    "quantize_spike",
    "soft_reset",
    "spike_codes",
    "ternarize_weight",
    "ternary_codes",
]
