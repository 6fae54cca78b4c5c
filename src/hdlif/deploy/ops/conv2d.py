"""Lowerings of convolutions and head sums, and the PyTorch and ONNX implementations of `conv2d`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif.deploy.lowering import Lowerer, Wire, biased, lowers, sizes_of, weight_of
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts, folded, synapse
from hdlif.errors import LoweringError
from hdlif.graph.graph import Node
from hdlif.graph.ops.conv2d import dilation_of, groups_of
from hdlif.nn import HeadSum, QuantConv1d, QuantConv2d


@lowers(nn.Conv1d, nn.Conv2d, QuantConv1d, QuantConv2d)
def _convolution(lowerer: Lowerer, module: nn.Conv1d | nn.Conv2d, wire: Wire, path: str) -> Wire:
    stride, dilation = sizes_of(lowerer, module, wire, path, stride=1, dilation=1)
    padding, (encoding, weight, weight_scale) = _padding(module, path), weight_of(module)
    if weight.ndim == 3:
        # A sequence is a map of one row.
        padding, weight = [0, *padding], weight[:, :, None]
    wire = lowerer.one_scale(wire)
    geometry: dict[str, Any] = {"stride": stride, "padding": padding}
    if dilation != [1, 1]:
        geometry["dilation"] = dilation
    if module.groups != 1:
        geometry["groups"] = module.groups
    out = lowerer.emit("conv2d", path, wire, encoding=encoding, role="body", weight=weight, **geometry)
    out = Wire(out.name, wire.scale * weight_scale)
    return out if module.bias is None else biased(lowerer, out, path, module.bias)


@lowers(HeadSum)
def _head_sum(lowerer: Lowerer, module: HeadSum, wire: Wire, path: str) -> Wire:
    """Lower a head sum to a convolution with weights of 1 and one group per head."""
    wire = lowerer.one_scale(wire)
    weight = np.ones((module.heads, lowerer.values[wire.name].shape[0] // module.heads, 1, 1), np.int8)
    geometry: dict[str, Any] = {"stride": [1, 1], "padding": [0, 0]}
    if module.heads != 1:
        geometry["groups"] = module.heads
    summed = lowerer.emit("conv2d", path, wire, encoding="binary", role="body", weight=weight, **geometry)
    return Wire(summed.name, wire.scale)


def _padding(module: nn.Conv1d | nn.Conv2d, path: str) -> list[int]:
    """Return the padding of each axis, which is equal on both sides."""
    if module.padding_mode != "zeros":
        raise LoweringError(f"{path}: padding_mode = {module.padding_mode!r} has no deployed form; use 'zeros'")
    if not isinstance(module.padding, str):
        return list(module.padding)
    if module.padding == "valid":
        return [0] * len(module.kernel_size)
    around = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    if any(n % 2 for n in around):
        raise LoweringError(
            f"{path}: padding = 'same' of kernel_size = {list(module.kernel_size)}, dilation = {list(module.dilation)} "
            "pads one side more than the other, which has no deployed form; use an odd kernel_size"
        )
    return [n // 2 for n in around]


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    weight, attributes = parts.tensors["weight"], parts.node.attributes
    geometry = attributes["stride"], attributes["padding"], dilation_of(parts.node), groups_of(parts.node)
    return folded(inputs[0], lambda v: F.conv2d(v, weight, None, *geometry))


def _onnx(w: Writer, node: Node, x: str, constants: Sequence[str], name: str) -> str:
    (pad_y, pad_x), strides = node.attributes["padding"], list(node.attributes["stride"])
    apart = {"dilations": list(dilation_of(node)), "group": groups_of(node)}
    return w.op("Conv", x, *constants, name=name, pads=[pad_y, pad_x, pad_y, pad_x], strides=strides, **apart)


FORM = OpForm("conv2d", torch=torch_form, onnx=synapse(_onnx))
