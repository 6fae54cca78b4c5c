"""Lowerings of channel attention, and the PyTorch and ONNX implementations of `seca`."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif.deploy.lowering import Lowerer, Wire, f64, lowers, repeated, stored
from hdlif.deploy.onnx_translation import Row
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts, pointwise
from hdlif.graph.graph import Node
from hdlif.nn import SECA


@lowers(SECA)
def _seca(lowerer: Lowerer, module: SECA, wire: Wire, path: str) -> Wire:
    weight = repeated(f64(module.weight), lowerer.time_steps)
    bias = np.zeros((1, 1)) if module.bias is None else repeated(f64(module.bias)[:, None], lowerer.time_steps)
    weight, bias = (rows[:1] if (rows == rows[:1]).all() else rows for rows in (weight, bias))
    return lowerer.emit("seca", path, lowerer.applied(wire), weight=stored(weight), bias=stored(bias))


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    x = inputs[0]
    weight, bias = parts.rows("weight", 3), parts.rows("bias", 3)
    margin = weight.shape[2] // 2
    neighbours = F.pad(x.mean((3, 4)), (margin, margin)).unfold(2, weight.shape[2], 1)
    gate = torch.sigmoid((neighbours * weight[:, :, None]).sum(3) + bias)
    return x * gate[..., None, None]


def _onnx(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
    margin = node.tensors["weight"].shape[1] // 2
    mean = w.op("GlobalAveragePool", x[0], name=node.name)
    channels = w.op("Reshape", mean, w.constant((0, 1, -1), np.int64), name=node.name)
    logit = w.op("Conv", channels, row("weight"), row("bias"), name=node.name, pads=[margin, margin])
    gate = w.op("Reshape", w.op("Sigmoid", logit, name=node.name), w.constant((0, -1, 1, 1), np.int64), name=node.name)
    return w.op("Mul", x[0], gate, name=node.name)


def _row_shape(node: Node, key: str) -> tuple[int, ...]:
    """Return the shape, in ONNX, of the channel-attention kernel or its bias."""
    columns = node.tensors[key].shape[1]
    return (1, 1, columns) if key == "weight" else (columns,)


FORM = OpForm("seca", torch=torch_form, onnx=pointwise(_onnx, joins_rows=False, shape=_row_shape))
