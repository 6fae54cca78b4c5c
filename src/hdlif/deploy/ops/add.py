"""The forms of `add`."""

from collections.abc import Sequence

from torch import Tensor

from hdlif.deploy.onnx_translation import Row, pointwise
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts
from hdlif.graph.graph import Node


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    return inputs[0] + inputs[1]


def _onnx(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
    return w.op("Add", x[0], x[1], name=node.name)


FORM = OpForm("add", torch=torch_form, onnx=pointwise(_onnx))
