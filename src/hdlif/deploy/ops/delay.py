"""Lowerings of recurrent layers and delay lines, and the PyTorch and ONNX implementations of `delay`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor

from hdlif.deploy.lowering import Lowerer, Wire, lowers
from hdlif.deploy.onnx_translation import Translation, Value
from hdlif.deploy.op_form import OpForm, Parts
from hdlif.graph.graph import Node
from hdlif.nn import Changes, DelayLine, Recurrent


@lowers(Recurrent)
def _recurrent(lowerer: Lowerer, module: Recurrent, wire: Wire, path: str) -> Wire:
    """Lower a recurrent layer to a delay, a synapse, an addition, and a neuron whose spikes feed the delay."""
    current = lowerer.applied(wire)
    # The delay has the type and the scale of the neuron's output, which a trial lowering finds first.
    trial = lowerer.trial()
    emitted = trial.lower(module.neuron, current, f"{path}.neuron")
    most = trial.values[emitted.name].max_code or 0
    # The spikes of step t - 1 have the scale of that step.
    before = emitted.scale if len(emitted.scale) == 1 else np.concatenate([emitted.scale[:1], emitted.scale])
    place = len(lowerer.nodes)
    delayed = lowerer.emit("delay", f"{path}.spike", current, pending=before, source="", max_code=most)
    back = lowerer.applied(lowerer.lower(module.synapse, delayed, f"{path}.synapse"))
    joined = lowerer.emit("add", f"{path}.add", current, back)
    spikes = lowerer.lower(module.neuron, joined, f"{path}.neuron")
    node = lowerer.nodes[place]
    lowerer.nodes[place] = replace(node, attributes={**node.attributes, "source": spikes.name})
    return spikes


@lowers(DelayLine)
def _line(lowerer: Lowerer, module: DelayLine, wire: Wire, path: str) -> Wire:
    """Lower a delay line to one `delay` op per stored step, and concatenate all taps along the channels."""
    wire = lowerer.one_scale(wire)
    if len(wire.scale) > 1:
        # Concatenated codes need a common scale, so scales that change over time are applied first.
        wire = lowerer.applied(wire)
    most = lowerer.values[wire.name].max_code or 0
    last, joined = wire, wire
    for step in range(1, module.reach + 1):
        last = lowerer.emit("delay", f"{path}.delay{step}", last, source=last.name, max_code=most, pending=wire.scale)
        if step % module.dilation == 0:
            name = f"{path}.concat{step // module.dilation}"
            joined = lowerer.emit("concat", name, joined, last, pending=wire.scale)
    return joined


@lowers(Changes)
def _changes(lowerer: Lowerer, module: Changes, wire: Wire, path: str) -> Wire:
    """Lower `Changes` to a delay line and a convolution that computes x_t and x_t - x_{t-1} in every channel."""
    joined = lowerer.applied(_line(lowerer, module, lowerer.applied(wire), path))
    one = np.eye(lowerer.values[wire.name].shape[0], dtype=np.float32)
    weight = np.block([[one, 0 * one], [one, -one]])[:, :, None, None]
    geometry: dict[str, Any] = {"stride": [1, 1], "padding": [0, 0]}
    return lowerer.emit("conv2d", path, joined, encoding="float32", role="body", weight=weight, **geometry)


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    delayed, most = parts.states["delayed"][None], parts.node.attributes["max_code"]
    return delayed.clamp(0, most).floor() if most else delayed


def keep(node: Node, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {"delayed": values[node.attributes["source"]][-1]}


def _onnx(translation: Translation, node: Node) -> Value:
    clock, writer = translation.clock, translation.writer
    before = clock.state(node, "delayed")

    def leave() -> None:
        clock.leave(node, "delayed", translation.values[node.attributes["source"]].joined(writer))

    translation.at_the_end.append(leave)
    # At the start the state is a single number.
    nothing = writer.op("Mul", translation.values[node.inputs[0]].joined(writer), writer.constant(0.0))
    return Value(node.name, False, whole=writer.op("Add", before, nothing, name=node.name))


FORM = OpForm("delay", torch=torch_form, onnx=_onnx, keep=keep)
