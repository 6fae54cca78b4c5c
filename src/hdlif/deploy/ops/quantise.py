"""Lowerings of spike quantisers, and the PyTorch and ONNX implementations of `quantise`."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from hdlif.deploy.lowering import Lowerer, Wire, stored
from hdlif.deploy.onnx_translation import Row
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts, pointwise
from hdlif.errors import LoweringError
from hdlif.graph.graph import Node
from hdlif.nn import SpikeQuantizer


def quantised(lowerer: Lowerer, quantizer: SpikeQuantizer | None, wire: Wire, path: str) -> Wire:
    """Lower graded spikes to codes, with a pending gain merged into the quantisation step."""
    if quantizer is None:
        return wire
    step = float(quantizer.step)
    if not 0 < step < math.inf:
        raise LoweringError(
            f"{path}.quantizer: step = {step}; it must be above 0. The learned step has diverged: go back to an "
            "earlier checkpoint, or train with a smaller learning rate or a fixed step"
        )
    return lowerer.emit(
        "quantise",
        f"{path}.quantizer",
        wire,
        pending=np.full((1, 1), step),
        bits=quantizer.bits,
        inverse_step=stored(wire.scale / step),
        offset=quantizer.offset,
    )


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    x = inputs[0]
    inverse_step = parts.rows("inverse_step", x.ndim)
    code = torch.floor(x.clamp_min(0) * inverse_step + parts.node.attributes["offset"])
    return code.clamp_max(2 ** parts.node.attributes["bits"] - 1)


def _onnx(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
    offset, largest = node.attributes["offset"], 2 ** int(node.attributes["bits"]) - 1
    # x <= 0 gives floor(offset), which is clipped
    surplus = w.argument_of("Relu", x[0])
    scaled = w.op("Add", w.op("Mul", surplus, row("inverse_step"), name=node.name), w.constant(offset), name=node.name)
    least, most = w.constant(math.floor(offset)), w.constant(largest)
    return w.op("Clip", w.op("Floor", scaled, name=node.name), least, most, name=node.name)


FORM = OpForm("quantise", torch=torch_form, onnx=pointwise(_onnx))
