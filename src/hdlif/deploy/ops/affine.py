"""Lowerings of batch norms and gains, and the PyTorch and ONNX implementations of `affine`."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from hdlif.deploy.lowering import Lowerer, Wire, check_sequence, f64, lowers, repeated
from hdlif.deploy.onnx_translation import Row
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts, pointwise
from hdlif.graph.graph import Node
from hdlif.nn import Affine, BatchNorm1d, BatchNorm2d


@lowers(Affine)
def _affine(lowerer: Lowerer, module: Affine, wire: Wire, path: str) -> Wire:
    return lowerer.affine(wire, path, f64(module.weight)[None], f64(module.bias)[None])


@lowers(BatchNorm1d)
def _batch_norm_1d(lowerer: Lowerer, module: BatchNorm1d, wire: Wire, path: str) -> Wire:
    if len(lowerer.values[wire.name].shape) > 1:
        check_sequence(lowerer, module, wire, path)
    return _batch_norm(lowerer, module, wire, path)


@lowers(BatchNorm2d)
def _batch_norm(lowerer: Lowerer, module: BatchNorm2d, wire: Wire, path: str) -> Wire:
    gain = f64(module.weight) / np.sqrt(f64(module.running_var) + module.eps)
    shift = f64(module.bias) - gain * f64(module.running_mean)
    if module.time_steps is None:
        return lowerer.affine(wire, path, gain[None], shift[None])
    return lowerer.affine(wire, path, repeated(gain, lowerer.time_steps), repeated(shift, lowerer.time_steps))


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    x = inputs[0]
    return x * parts.rows("scale", x.ndim) + parts.rows("shift", x.ndim)


def _onnx(w: Writer, node: Node, x: Sequence[str], row: Row) -> str:
    return w.op("Add", w.op("Mul", x[0], row("scale"), name=node.name), row("shift"), name=node.name)


FORM = OpForm("affine", torch=torch_form, onnx=pointwise(_onnx))
