"""Convolutions of modules, and the forms of `conv2d`."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from hdlif.deploy.lowering import Floats, Lowerer, Wire, along, biased, check_sequence, lowers, weight_of
from hdlif.deploy.onnx_translation import synapse
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts, folded
from hdlif.errors import LoweringError
from hdlif.graph.graph import Node
from hdlif.graph.ops.conv2d import dilation_of, groups_of
from hdlif.nn import QuantConv1d, QuantConv2d


@lowers(nn.Conv2d, QuantConv2d)
def _conv2d(lowerer: Lowerer, module: nn.Conv2d, wire: Wire, path: str) -> Wire:
    weight = weight_of(module)
    return _lowered(lowerer, module, wire, path, weight, list(module.stride), _padding(module, path), module.dilation)


@lowers(nn.Conv1d, QuantConv1d)
def _conv1d(lowerer: Lowerer, module: nn.Conv1d, wire: Wire, path: str) -> Wire:
    check_sequence(lowerer, module, wire, path)
    encoding, weight, scale = weight_of(module)
    stride, padding, dilation = along(module.stride, 1), along(_padding(module, path), 0), along(module.dilation, 1)
    return _lowered(lowerer, module, wire, path, (encoding, weight[:, :, None], scale), stride, padding, dilation)


def _lowered(
    lowerer: Lowerer,
    module: nn.Conv1d | nn.Conv2d,
    wire: Wire,
    path: str,
    weights: tuple[str, NDArray[Any], Floats],
    stride: list[int],
    padding: list[int],
    dilation: Sequence[int],
) -> Wire:
    wire = lowerer.one_scale(wire)
    encoding, weight, weight_scale = weights
    geometry: dict[str, Any] = {"stride": stride, "padding": padding}
    if set(dilation) != {1}:
        geometry["dilation"] = list(dilation)
    if module.groups != 1:
        geometry["groups"] = module.groups
    out = lowerer.emit("conv2d", path, wire, encoding=encoding, role="body", weight=weight, **geometry)
    out = Wire(out.name, wire.scale * weight_scale)
    return out if module.bias is None else biased(lowerer, out, path, module.bias)


def _padding(module: nn.Conv1d | nn.Conv2d, path: str) -> list[int]:
    """Return the padding on either side of each axis."""
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
    weight, attributes = parts.tensor("weight"), parts.node.attributes
    geometry = attributes["stride"], attributes["padding"], dilation_of(parts.node), groups_of(parts.node)
    return folded(inputs[0], lambda v: F.conv2d(v, weight, None, *geometry))


def _onnx(w: Writer, node: Node, x: str, constants: Sequence[str], name: str) -> str:
    (pad_y, pad_x), strides = node.attributes["padding"], list(node.attributes["stride"])
    apart = {"dilations": list(dilation_of(node)), "group": groups_of(node)}
    return w.op("Conv", x, *constants, name=name, pads=[pad_y, pad_x, pad_y, pad_x], strides=strides, **apart)


FORM = OpForm("conv2d", torch=torch_form, onnx=synapse(_onnx))
