"""Flattening modules, and the forms of `flatten`."""

from torch import Tensor, nn

from hdlif.deploy.lowering import Lowerer, Wire, lowers
from hdlif.deploy.onnx_translation import whole
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts
from hdlif.errors import LoweringError
from hdlif.graph.graph import Node


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


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    return inputs[0].flatten(2)


def _onnx(w: Writer, node: Node, x: str) -> str:
    return w.op("Flatten", x, name=node.name, axis=1)


FORM = OpForm("flatten", torch=torch_form, onnx=whole(_onnx))
