"""Convolution: y = sum over (ky, kx, ci), in this order, of weight · x, in float32 from +0; zero padding.

Of codes and integer weights: the integer sum (exact, in any order), rounded to float32 once.
"""

from collections.abc import Sequence

import numpy as np

from hdlif.errors import ArtefactError
from hdlif.ops.fields import map_shape, pair
from hdlif.ops.graph import Array, Node, Value
from hdlif.ops.op import Flat, Op
from hdlif.ops.weights import check_sum, price, weight_of
from hdlif.ops.windows import windows


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    channels, height, width = map_shape(node, inputs[0])
    weight = node.tensors["weight"]
    if weight.ndim != 4:
        raise ArtefactError(f"{node.name}.weight: shape {list(weight.shape)}; it must be [out, in, kh, kw]")
    weight = weight_of(node, (channels,))
    check_sum(node, inputs[0])
    stride, padding = pair(node, "stride", 1), pair(node, "padding", 0)
    out = tuple(
        (size + 2 * p - kernel) // s + 1
        for size, kernel, s, p in zip((height, width), weight.shape[2:], stride, padding, strict=True)
    )
    if min(out) < 1 or any(p >= k for p, k in zip(padding, weight.shape[2:], strict=True)):
        raise ArtefactError(
            f"{node.name}: kernel {list(weight.shape[2:])}, padding {list(padding)} do not fit a {height}x{width} map"
        )
    return Value((weight.shape[0], *out), constant=inputs[0].constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    weight = node.tensors["weight"]
    (pad_y, pad_x), strides = node.attributes["padding"], node.attributes["stride"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    taps = list(windows(padded, weight.shape[2:], strides))
    if x.dtype == np.uint8 and weight.dtype == np.int8:
        # float64 holds these integers exactly, and multiplies matrices fast
        exact = weight.astype(np.float64)
        parts = [
            np.tensordot(exact[:, :, ky, kx], window.astype(np.float64), axes=([1], [1])) for ky, kx, window in taps
        ]
        summed: Array = np.sum(parts, axis=0)
        return summed.swapaxes(0, 1).astype(np.float32)
    total = np.zeros((len(x), len(weight), *taps[0][2].shape[2:]), np.float32)
    for ky, kx, window in taps:
        for channel in range(x.shape[1]):
            column = weight[:, channel, ky, kx].astype(np.float32)[:, None, None]
            total += column * window[:, channel, None].astype(np.float32)
    return total


def flat(node: Node) -> Flat:
    out, _, kernel_y, kernel_x = node.tensors["weight"].shape
    return Flat(out_channels=out, kernel=(kernel_y, kernel_x))


OP = Op(
    "conv2d",
    code=0,
    arity=1,
    attributes=("encoding", "padding", "role", "stride"),
    tensors=("weight",),
    infer=infer,
    evaluate=evaluate,
    price=price,
    flat=flat,
    is_synapse=True,
)
