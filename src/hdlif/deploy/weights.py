"""Weights of modules as a graph has them: codes, their encoding and scale; and biases."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hdlif.deploy.lowering import ONE, Floats, Lowerer, Wire, f64
from hdlif.graph.ops.weights import Encoding
from hdlif.nn import Binary, Integer, QuantLayer, WeightQuantizer


def encoding_of(quantizer: WeightQuantizer) -> Encoding:
    """The narrowest encoding that holds the quantiser's codes."""
    match quantizer:
        case Binary():
            return "binary"
        case Integer(bits=bits):
            return "int2" if bits == 2 else "int4" if bits <= 4 else "int8"
        case _:
            return "ternary"


def weight_of(module: nn.Conv1d | nn.Conv2d | nn.Linear) -> tuple[str, NDArray[Any], Floats]:
    """Encoding, codes (or fp32 weights) and the scale of W = scale·codes as [1, out or 1]."""
    if not isinstance(module, QuantLayer) or module.quantizer is None:
        return "float32", module.weight.detach().float().cpu().numpy(), ONE
    codes, scale = module.quantizer.codes(module.weight)
    return encoding_of(module.quantizer), codes.to(torch.int8).cpu().numpy(), f64(scale).reshape(1, -1)


def biased(lowerer: Lowerer, wire: Wire, path: str, bias: Tensor) -> Wire:
    shift = f64(bias).reshape(1, -1)
    return lowerer.affine(wire, f"{path}.bias", np.ones_like(shift), shift)
