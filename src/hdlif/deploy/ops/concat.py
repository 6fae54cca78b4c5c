"""The forms of `concat`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hdlif.deploy.onnx_translation import Row, pointwise
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts
from hdlif.graph.graph import Node


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    leading = max(len(value) for value in inputs)
    return torch.cat([value.expand(leading, *value.shape[1:]) for value in inputs], 2)


def _onnx(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
    return w.op("Concat", *x, name=node.name, axis=1)


FORM = OpForm("concat", torch=torch_form, onnx=pointwise(_onnx, broadcasts=False))
