"""Linear layers of modules, and the forms of `linear`."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.deploy.lowering import Lowerer, Wire, biased, lowers, weight_of
from hdlif.deploy.onnx_translation import synapse
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts
from hdlif.graph.graph import Node
from hdlif.nn import QuantLinear


@lowers(nn.Linear, QuantLinear)
def _linear(lowerer: Lowerer, module: nn.Linear, wire: Wire, path: str) -> Wire:
    wire = lowerer.one_scale(wire)
    encoding, weight, weight_scale = weight_of(module)
    out = lowerer.emit("linear", path, wire, encoding=encoding, role="body", weight=weight)
    out = Wire(out.name, wire.scale * weight_scale)
    return out if module.bias is None else biased(lowerer, out, path, module.bias)


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    x = inputs[0]
    return F.linear(x, parts.tensors["weight"])


def _onnx(w: Writer, node: Node, x: str, constants: Sequence[str], name: str) -> str:
    return w.op("Gemm", x, *constants, name=name, transB=1)


FORM = OpForm("linear", torch=torch_form, onnx=synapse(_onnx))
