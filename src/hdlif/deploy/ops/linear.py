"""Lowerings of linear layers, and the PyTorch and ONNX implementations of `linear`."""

import torch.nn.functional as F
from torch import nn

from hdlif.deploy.lowering import Lowerer, Wire, biased, lowers, weight_of
from hdlif.deploy.op_form import OpForm, synapse
from hdlif.nn import QuantLinear


@lowers(nn.Linear, QuantLinear)
def _linear(lowerer: Lowerer, module: nn.Linear, wire: Wire, path: str) -> Wire:
    wire = lowerer.one_scale(wire)
    encoding, weight, weight_scale = weight_of(module)
    out = lowerer.emit("linear", path, wire, encoding=encoding, role="body", weight=weight)
    out = Wire(out.name, wire.scale * weight_scale)
    return out if module.bias is None else biased(lowerer, out, path, module.bias)


FORM = OpForm(
    "linear",
    torch=lambda parts, inputs: F.linear(inputs[0], parts.tensors["weight"]),
    onnx=synapse(lambda w, node, x, constants, name: w.op("Gemm", x, *constants, name=name, transB=1)),
)
