"""PyTorch and ONNX implementations of an op."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from hdlif.deploy.onnx_translation import Array, Emit, OnnxForm, Translation, Value
from hdlif.deploy.onnx_writer import Writer
from hdlif.graph.graph import Node


@dataclass
class Parts:
    """The node, steps, tensors and states that an op's PyTorch implementation receives.

    Attributes:
        tensors: the node's tensors by role.
        states: the states [B, ...] before the chunk; the form replaces them with the states after the chunk.
    """

    node: Node
    steps: range
    tensors: Mapping[str, Tensor]
    states: dict[str, Tensor]

    def rows(self, role: str, ndim: int) -> Tensor:
        """Return a tensor's rows for the steps of the chunk, in a shape that broadcasts to [K, B, C, ...]."""
        rows = self.tensors[role]
        if len(rows) > 1:
            rows = rows[[min(t, len(rows) - 1) for t in self.steps]]
        return rows.view(rows.shape[0], 1, rows.shape[1], *[1] * (ndim - 3))


TorchForm = Callable[[Parts, tuple[Tensor, ...]], Tensor]
"""Function (parts, inputs [K or 1, B, ...]) -> output [K or 1, B, ...]."""


@dataclass(frozen=True)
class OpForm:
    """The PyTorch and ONNX implementations of an op.

    Attributes:
        keep: function of the values [1, B, ...] that returns the states a node stores after all nodes of a step ran, as
            `Op.keep`.
    """

    op: str
    torch: TorchForm
    onnx: OnnxForm
    keep: Callable[[Node, Mapping[str, Tensor]], dict[str, Tensor]] | None = None


def folded(x: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function that takes [B, ...] to an input [K, B, ...], with time folded into the batch."""
    y = function(x.flatten(0, 1))
    return y.reshape(*x.shape[:2], *y.shape[1:])


def pointwise(emit: Emit, **options: Any) -> OnnxForm:
    """Return the ONNX implementation of an elementwise operation, with the options of `Translation.pointwise`."""
    return lambda translation, node: translation.pointwise(node, emit, **options)


def whole(emit: Callable[[Writer, Node, str], str]) -> OnnxForm:
    """Return the ONNX implementation of an operation that does not depend on time."""
    return lambda translation, node: translation.on_whole(node, lambda x: emit(translation.writer, node, x))


def synapse(emit: Callable[..., str]) -> OnnxForm:
    """Return the ONNX implementation of a layer with weights. The function `emit` takes (writer, node, x, weight and
    bias, name) and writes the layer.

    An `affine` op that is constant in time is folded into weight and bias if nothing else reads the layer's sums. For
    weights stored as integers, the `affine` op is folded into the scale and the bias instead.
    """

    def form(translation: Translation, node: Node) -> Value:
        clock, writer = translation.clock, translation.writer
        weight: Array = node.tensors["weight"].astype(np.float32)
        gain, ones, bias = np.ones(len(weight), np.float32), (1,) * (weight.ndim - 1), None
        name, affine = node.name, translation.only_reader(node)
        if affine is not None and affine.op == "affine":
            scale, shift = (clock.values_of(affine, key) for key in ("scale", "shift"))
            if scale is not None and shift is not None:
                name, gain, bias = affine.name, np.asarray(scale, np.float32), shift
        bits = translation.bits_of(node)
        if bits:
            whole = writer.packed(node.tensors["weight"], bits)
            zero = writer.packed(np.zeros(len(gain), np.int8), bits)
            constants = [writer.op("DequantizeLinear", whole, writer.constant(gain), zero, axis=0)]
        else:
            constants = [writer.constant(weight if name == node.name else weight * gain.reshape(-1, *ones))]
        constants += [] if bias is None else [writer.constant(bias)]
        value = translation.on_whole(node, lambda x: emit(writer, node, x, constants, name))
        translation.values[name] = value
        return value

    return form
