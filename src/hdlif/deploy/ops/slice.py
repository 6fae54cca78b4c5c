"""PyTorch and ONNX implementations of `slice`."""

import numpy as np

from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, whole
from hdlif.graph.graph import Node


def _onnx(w: Writer, node: Node, x: str) -> str:
    bounds = [w.constant((node.attributes[key],), np.int64) for key in ("begin", "end")]
    return w.op("Slice", x, *bounds, w.constant((1,), np.int64), name=node.name)


FORM = OpForm(
    "slice",
    torch=lambda parts, inputs: inputs[0][:, :, parts.node.attributes["begin"] : parts.node.attributes["end"]],
    onnx=whole(_onnx),
)
