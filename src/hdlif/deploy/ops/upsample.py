"""Lowerings of nearest-neighbour upsampling, and the PyTorch and ONNX implementations of `upsample`."""

import torch
from torch import Tensor, nn

from hdlif.deploy.lowering import Lowerer, Wire, lowers
from hdlif.deploy.onnx_writer import Writer
from hdlif.deploy.op_form import OpForm, Parts, whole
from hdlif.errors import LoweringError
from hdlif.graph.graph import Node


@lowers(nn.Upsample, nn.UpsamplingNearest2d)
def _upsample(lowerer: Lowerer, module: nn.Upsample, wire: Wire, path: str) -> Wire:
    shape = lowerer.values[wire.name].shape
    if module.mode not in ("nearest", "nearest-exact"):
        raise LoweringError(f"{path}: upsampling of mode {module.mode!r} has no deployed form; use 'nearest'")
    if len(shape) != 3:
        raise LoweringError(
            f"{path}: {type(module).__name__} takes a map [C, H, W], but gets {list(shape)}; flatten after it"
        )
    size = module.scale_factor if module.size is None else module.size
    axes = len(size) if isinstance(size, tuple | list) else None
    if axes is None and shape[1] == 1 and not isinstance(module, nn.UpsamplingNearest2d):
        raise LoweringError(
            f"{path}: Upsample({size}) of {list(shape)} may be of a sequence or of a map of one row; use "
            f"Upsample(scale_factor=(f,)) for a sequence, UpsamplingNearest2d for a map"
        )
    # upsample the index of each place with the module itself: its rounding may not select the nearest place
    places = torch.arange(shape[1] * shape[2], dtype=torch.float64).view(1, 1, *shape[1:])
    places = places[:, :, 0] if axes == 1 else places
    moved = module(places)
    factor = [a // b for a, b in zip(moved.shape[2:], places.shape[2:], strict=True)]
    if 0 in factor or not torch.equal(moved, _repeated(places, factor)):
        raise LoweringError(
            f"{path}: {module} of {list(shape)} does not repeat each entry equally often, which has no deployed form; "
            "use integer factors, and mode='nearest-exact' if 'nearest' rounds differently"
        )
    factor = [1, *factor] if axes == 1 else factor
    return Wire(lowerer.emit("upsample", path, wire, factor=factor).name, wire.scale)


def _repeated(x: Tensor, factor: list[int]) -> Tensor:
    """Repeat each entry along the last axes, with one factor per axis."""
    for axis, times in enumerate(factor, start=x.ndim - len(factor)):
        x = x.repeat_interleave(times, dim=axis)
    return x


def torch_form(parts: Parts, inputs: tuple[Tensor, ...]) -> Tensor:
    return _repeated(inputs[0], list(parts.node.attributes["factor"]))


def _onnx(w: Writer, node: Node, x: str) -> str:
    scales = w.constant((1, 1, *node.attributes["factor"]))
    placing = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    return w.op("Resize", x, "", scales, name=node.name, mode="nearest", **placing)


FORM = OpForm("upsample", torch=torch_form, onnx=whole(_onnx))
