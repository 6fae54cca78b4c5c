"""PyTorch and ONNX implementations of `add`."""

from hdlif.deploy.op_form import OpForm, pointwise

FORM = OpForm(
    "add",
    torch=lambda parts, inputs: inputs[0] + inputs[1],
    onnx=pointwise(lambda w, node, x, row: w.op("Add", x[0], x[1], name=node.name)),
)
