"""Adaptive average pools of modules, and the forms of `global_sum_pool`."""

import numpy as np
from torch import Tensor, nn

from hdlif.deploy.form import Form, Parts
from hdlif.deploy.lowering import Lowerer, Wire, along, check_sequence, lowers, two
from hdlif.deploy.onnx_translation import whole
from hdlif.deploy.onnx_writer import Writer
from hdlif.errors import LoweringError
from hdlif.ops import Node


@lowers(nn.AdaptiveAvgPool2d)
def _global_pool(lowerer: Lowerer, module: nn.AdaptiveAvgPool2d, wire: Wire, path: str) -> Wire:
    return _lowered(lowerer, module, wire, path, two(module.output_size))


@lowers(nn.AdaptiveAvgPool1d)
def _global_pool_1d(lowerer: Lowerer, module: nn.AdaptiveAvgPool1d, wire: Wire, path: str) -> Wire:
    check_sequence(lowerer, module, wire, path)
    return _lowered(lowerer, module, wire, path, along(module.output_size, 1))


def _lowered(
    lowerer: Lowerer, module: nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d, wire: Wire, path: str, size: list[int]
) -> Wire:
    if size != [1, 1]:
        raise LoweringError(f"{path}: adaptive pools to {module.output_size} have no deployed form; use 1")
    _, height, width = lowerer.values[wire.name].shape
    pooled = lowerer.emit("global_sum_pool", path, wire)
    return Wire(pooled.name, wire.scale / (height * width))


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    return inputs[0].sum((-2, -1))


def _onnx(w: Writer, node: Node, x: str) -> str:
    return w.op("ReduceSum", x, w.constant((2, 3), np.int64), name=node.name, keepdims=0)


FORM = Form("global_sum_pool", torch=torch_form, onnx=whole(_onnx))
