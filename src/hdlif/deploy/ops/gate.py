"""PyTorch and ONNX implementations of `gate`."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from hdlif.deploy.onnx_translation import Row, Translation, Value
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts
from hdlif.functional import gate
from hdlif.graph.graph import Node


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    return gate(*inputs)


def _onnx(translation: Translation, node: Node) -> Value:
    (channels, *pixels), (groups, *of_gates) = (translation.types[name].shape for name in node.inputs)
    is_per_pixel = of_gates == pixels

    def emit(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
        def shaped(value: str, *shape: int) -> str:
            return w.op("Reshape", value, w.constant(shape, np.int64), name=node.name)

        by_group = shaped(x[0], 0, groups, channels // groups, *pixels)
        gates = shaped(x[1], 0, groups, 1, *(pixels if is_per_pixel else [1] * len(pixels)))
        is_open = w.op("Greater", gates, w.constant(0.0), name=node.name)
        return shaped(w.op("Where", is_open, by_group, w.constant(0.0), name=node.name), -1, channels, *pixels)

    return translation.pointwise(node, emit)


FORM = OpForm("gate", torch=torch_form, onnx=_onnx)
