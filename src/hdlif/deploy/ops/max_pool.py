"""Lowerings of max-pooling layers, and the PyTorch and ONNX implementations of `max_pool`."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.deploy.lowering import Lowerer, Wire, fits, lowers, sizes_of
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts, folded, whole
from hdlif.errors import LoweringError
from hdlif.graph.graph import Node


@lowers(nn.MaxPool1d, nn.MaxPool2d)
def _max_pool(lowerer: Lowerer, module: nn.MaxPool1d | nn.MaxPool2d, wire: Wire, path: str) -> Wire:
    kernel, stride, padding, dilation = sizes_of(
        lowerer, module, wire, path, kernel_size=1, stride=1, padding=0, dilation=1
    )
    shape = lowerer.values[wire.name].shape
    if dilation != [1, 1] or (module.ceil_mode and not fits(shape[1:], kernel, stride, padding)):
        raise LoweringError(
            f"{path}: max pools with dilation, or ceil_mode where windows overhang as on {list(shape)}, have no "
            "deployed form; use dilation=1 and ceil_mode=False"
        )
    wire = lowerer.applied(wire) if (wire.scale <= 0).any() else wire
    geometry: dict[str, Any] = {"kernel": kernel, "stride": stride, "padding": padding}
    return Wire(lowerer.emit("max_pool", path, wire, **geometry).name, wire.scale)


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    x, attributes = inputs[0], parts.node.attributes
    kernel, stride, (pad_y, pad_x) = attributes["kernel"], attributes["stride"], attributes["padding"]
    # torch limits its own padding to half the kernel
    x = F.pad(x, (pad_x, pad_x, pad_y, pad_y), value=-torch.inf)
    return folded(x, lambda v: F.max_pool2d(v, kernel, stride))


def _onnx(w: Writer, node: Node, x: str) -> str:
    kernel, stride = list(node.attributes["kernel"]), list(node.attributes["stride"])
    pads = list(node.attributes["padding"]) * 2
    return w.op("MaxPool", x, name=node.name, kernel_shape=kernel, strides=stride, pads=pads)


FORM = OpForm("max_pool", torch=torch_form, onnx=whole(_onnx))
