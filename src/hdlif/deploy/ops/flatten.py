"""Lowerings of flattening modules, and the PyTorch and ONNX implementations of `flatten`."""

from torch import nn

from hdlif.deploy.lowering import Lowerer, Wire, lowers
from hdlif.deploy.op_form import OpForm, whole
from hdlif.errors import LoweringError


@lowers(nn.Flatten)
def _flatten(lowerer: Lowerer, module: nn.Flatten, wire: Wire, path: str) -> Wire:
    axes = len(lowerer.values[wire.name].shape)
    if module.start_dim != 1 or module.end_dim not in (-1, axes):
        raise LoweringError(
            f"{path}: Flatten(start_dim={module.start_dim}, end_dim={module.end_dim}) has no deployed form, which "
            "joins all axes but the batch; use Flatten()"
        )
    if axes == 1:
        return wire
    wire = lowerer.one_scale(wire)
    return Wire(lowerer.emit("flatten", path, wire).name, wire.scale)


FORM = OpForm(
    "flatten",
    torch=lambda parts, inputs: inputs[0].flatten(2),
    onnx=whole(lambda w, node, x: w.op("Flatten", x, name=node.name, axis=1)),
)
