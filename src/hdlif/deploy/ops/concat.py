"""PyTorch and ONNX implementations of `concat`."""

import torch
from torch import Tensor

from hdlif.deploy.op_form import OpForm, Parts, pointwise


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    leading = max(len(value) for value in inputs)
    return torch.cat([value.expand(leading, *value.shape[1:]) for value in inputs], 2)


FORM = OpForm(
    "concat",
    torch=torch_form,
    onnx=pointwise(lambda w, node, x, row: w.op("Concat", *x, name=node.name, axis=1), broadcasts=False),
)
