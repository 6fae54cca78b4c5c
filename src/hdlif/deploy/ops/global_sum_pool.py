"""Adaptive average pools of modules, and the forms of `global_sum_pool`."""

import numpy as np
from torch import Tensor, nn

from hdlif.deploy.form import Form, Parts
from hdlif.deploy.lowering import Lowerer, Wire, lowers, two
from hdlif.deploy.onnx_translation import whole
from hdlif.deploy.onnx_writer import Writer
from hdlif.errors import LoweringError
from hdlif.ops import Node


@lowers(nn.AdaptiveAvgPool2d)
def _global_pool(lowerer: Lowerer, module: nn.AdaptiveAvgPool2d, wire: Wire, path: str) -> Wire:
    if two(module.output_size) != [1, 1]:
        raise LoweringError(f"{path}: adaptive pools to {module.output_size} have no deployed form; use 1")
    _, height, width = lowerer.values[wire.name].shape
    pooled = lowerer.emit("global_sum_pool", path, wire)
    return Wire(pooled.name, wire.scale / (height * width))


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    return inputs[0].sum((-2, -1))


def _onnx(w: Writer, node: Node, x: str) -> str:
    return w.op("ReduceSum", x, w.constant((2, 3), np.int64), name=node.name, keepdims=0)


FORM = Form("global_sum_pool", torch=torch_form, onnx=whole(_onnx))
