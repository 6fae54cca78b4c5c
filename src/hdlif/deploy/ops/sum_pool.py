"""Lowerings of average-pooling layers, and the PyTorch and ONNX implementations of `sum_pool`."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.deploy.lowering import Lowerer, Wire, fits, lowers, sizes_of
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts, folded, whole
from hdlif.errors import LoweringError
from hdlif.graph.graph import Node


@lowers(nn.AvgPool1d, nn.AvgPool2d)
def _average_pool(lowerer: Lowerer, module: nn.AvgPool1d | nn.AvgPool2d, wire: Wire, path: str) -> Wire:
    kernel, stride, padding = sizes_of(lowerer, module, wire, path, kernel_size=1, stride=1, padding=0)
    shape = lowerer.values[wire.name].shape
    if padding != [0, 0] or (module.ceil_mode and not fits(shape[1:], kernel, stride, padding)):
        raise LoweringError(
            f"{path}: average pools with padding, or ceil_mode where windows overhang as on {list(shape)}, have no "
            "deployed form; use padding=0 and ceil_mode=False"
        )
    pooled = lowerer.emit("sum_pool", path, wire, kernel=kernel, stride=stride)
    divisor = getattr(module, "divisor_override", None) or kernel[0] * kernel[1]
    return Wire(pooled.name, wire.scale / divisor)


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    x = inputs[0]
    kernel, stride = parts.node.attributes["kernel"], parts.node.attributes["stride"]
    return folded(x, lambda v: F.avg_pool2d(v, kernel, stride, divisor_override=1))


def _onnx(w: Writer, node: Node, x: str) -> str:
    kernel, stride = list(node.attributes["kernel"]), list(node.attributes["stride"])
    mean = w.op("AveragePool", x, name=node.name, kernel_shape=kernel, strides=stride)
    return w.op("Mul", mean, w.constant(math.prod(kernel)), name=node.name)


FORM = OpForm("sum_pool", torch=torch_form, onnx=whole(_onnx))
