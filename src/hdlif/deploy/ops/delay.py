"""The forms of `delay`: a recurrent synapse reads it, see `hdlif.deploy.recurrent`."""

from collections.abc import Mapping

from torch import Tensor

from hdlif.deploy.form import Form, Parts
from hdlif.deploy.onnx_translation import Translation, Value
from hdlif.ops import Node


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    return parts.states["delayed"][None]


def keep(node: Node, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"delayed": values[node.attributes["source"]][-1]}


def _onnx(translation: Translation, node: Node) -> Value:
    clock, writer = translation.clock, translation.writer
    before = clock.state(node, "delayed")

    def leave() -> None:
        clock.leave(node, "delayed", translation.values[node.attributes["source"]].joined(writer))

    translation.at_the_end.append(leave)
    # At the start a number stands for the whole state.
    nothing = writer.op("Mul", translation.values[node.inputs[0]].joined(writer), writer.constant(0.0))
    return Value(node.name, False, whole=writer.op("Add", before, nothing, name=node.name))


FORM = Form("delay", torch=torch_form, onnx=_onnx, keep=keep)
