"""Lowerings of adaptive pooling and token sums, and the PyTorch and ONNX implementations of `global_sum_pool`."""

import numpy as np
from torch import nn

from hdlif.deploy.lowering import Lowerer, Wire, lowers, sizes_of
from hdlif.deploy.op_form import OpForm, whole
from hdlif.errors import LoweringError
from hdlif.nn import TokenSum


@lowers(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)
def _global_pool(lowerer: Lowerer, module: nn.AdaptiveAvgPool1d | nn.AdaptiveAvgPool2d, wire: Wire, path: str) -> Wire:
    (size,) = sizes_of(lowerer, module, wire, path, output_size=1)
    _, height, width = lowerer.values[wire.name].shape
    if size == [1, 1]:
        pooled = lowerer.emit("global_sum_pool", path, wire)
        return Wire(pooled.name, wire.scale / (height * width))
    if size == [height, width]:
        return wire
    if not any(n % out for n, out in zip((height, width), size, strict=True)):
        kernel = [height // size[0], width // size[1]]
        pooled = lowerer.emit("sum_pool", path, wire, kernel=kernel, stride=kernel)
        return Wire(pooled.name, wire.scale / (kernel[0] * kernel[1]))
    if not any(out % n for n, out in zip((height, width), size, strict=True)):
        # Each window has one entry.
        factor = [size[0] // height, size[1] // width]
        return Wire(lowerer.emit("upsample", path, wire, factor=factor).name, wire.scale)
    raise LoweringError(
        f"{path}: an adaptive pool of {[height, width]} to {size} has windows of different sizes, which have no "
        "deployed form; use a size that divides, or 1"
    )


@lowers(TokenSum)
def _token_sum(lowerer: Lowerer, module: TokenSum, wire: Wire, path: str) -> Wire:
    return Wire(lowerer.emit("global_sum_pool", path, wire).name, wire.scale)


FORM = OpForm(
    "global_sum_pool",
    torch=lambda parts, inputs: inputs[0].sum((-2, -1)),
    onnx=whole(lambda w, node, x: w.op("ReduceSum", x, w.constant((2, 3), np.int64), name=node.name, keepdims=0)),
)
