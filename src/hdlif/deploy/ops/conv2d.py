"""Convolutions of modules, and the forms of `conv2d`."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.deploy.form import Form, Parts, folded
from hdlif.deploy.lowering import Lowerer, Wire, lowers
from hdlif.deploy.onnx_translation import synapse
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.weights import biased, weight_of
from hdlif.errors import LoweringError
from hdlif.nn import QuantConv2d
from hdlif.ops import Node


@lowers(nn.Conv2d, QuantConv2d)
def _conv2d(lowerer: Lowerer, module: nn.Conv2d, wire: Wire, path: str) -> Wire:
    if (
        module.groups != 1
        or set(module.dilation) != {1}
        or module.padding_mode != "zeros"
        or isinstance(module.padding, str)
    ):
        raise LoweringError(f"{path}: grouped, dilated or specially padded convolutions have no deployed form")
    wire = lowerer.one_scale(wire)
    encoding, weight, weight_scale = weight_of(module)
    geometry: dict[str, Any] = {"stride": list(module.stride), "padding": list(module.padding)}
    out = lowerer.emit("conv2d", path, wire, encoding=encoding, role="body", weight=weight, **geometry)
    out = Wire(out.name, wire.scale * weight_scale)
    return out if module.bias is None else biased(lowerer, out, path, module.bias)


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    weight, attributes = parts.tensor("weight"), parts.node.attributes
    return folded(inputs[0], lambda v: F.conv2d(v, weight, None, attributes["stride"], attributes["padding"]))


def _onnx(w: Writer, node: Node, x: str, constants: Sequence[str], name: str) -> str:
    (pad_y, pad_x), strides = node.attributes["padding"], list(node.attributes["stride"])
    return w.op("Conv", x, *constants, name=name, pads=[pad_y, pad_x, pad_y, pad_x], strides=strides)


FORM = Form("conv2d", torch=torch_form, onnx=synapse(_onnx))
