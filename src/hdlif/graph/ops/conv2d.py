"""The conv2d op, y = sum of weight · x over (ky, kx, ci), in this order, with zero padding, in float32 from +0.

Adjacent taps of the kernel read entries that are `dilation` apart. With G = `groups`, input and output channels are
split into G equal groups, and `ci` covers only the output channel's group.

For codes and integer weights, y is the exact integer sum, rounded once to float32.
"""

from collections.abc import Sequence

import numpy as np

from hdlif.errors import ArtefactError, brief
from hdlif.graph.fields import map_shape, pair, places, windows
from hdlif.graph.graph import Array, Node, Value
from hdlif.graph.op import Op, Passed
from hdlif.graph.weights import check_sum, price, weight_of


def dilation_of(node: Node) -> tuple[int, int]:
    return pair(node, "dilation", 1, default=(1, 1))


def groups_of(node: Node) -> int:
    found: int = node.attributes.get("groups", 1)
    return found


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    channels, height, width = map_shape(node, inputs[0])
    weight = node.tensors["weight"]
    if weight.ndim != 4:
        raise ArtefactError(f"{node.name}.weight: shape {list(weight.shape)}; it must be [out, in, kh, kw]")
    if max(weight.shape[2:]) >= 2**15:
        raise ArtefactError(f"{node.name}.weight: kernel {list(weight.shape[2:])}; its sizes must be below {2**15}")
    groups = groups_of(node)
    if type(groups) is not int or groups < 1 or channels % groups or len(weight) % groups:
        raise ArtefactError(
            f"{node.name}: groups = {brief(groups)}; it must be an integer that divides the {channels} channels of its "
            f"input and the {len(weight)} of its output"
        )
    weight = weight_of(node, (channels // groups,))
    check_sum(node, inputs[0])
    stride, padding = pair(node, "stride", 1), pair(node, "padding", 0)
    out = places(node, (height, width), weight.shape[2:], stride, padding, dilation_of(node))
    return Value((weight.shape[0], *out), constant=inputs[0].constant)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    groups = groups_of(node)
    parts = zip(np.split(x, groups, axis=1), np.split(node.tensors["weight"], groups), strict=True)
    return np.concatenate([_of_a_group(node, *part) for part in parts], axis=1)


def _of_a_group(node: Node, x: Array, weight: Array) -> Array:
    (pad_y, pad_x), strides = node.attributes["padding"], node.attributes["stride"]
    padded = np.pad(x, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    taps = list(windows(padded, weight.shape[2:], strides, dilation_of(node)))
    if x.dtype == np.uint8 and weight.dtype == np.int8:
        # float64 represents these integers exactly, and multiplies matrices fast.
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


def backward(node: Node, passed: Passed, gradient: Array) -> tuple[Sequence[Array | None], dict[str, Array]]:
    """Return dx = sum of weight · g over (ky, kx, co), and dweight = sum of g · x over the map, row by row.

    The sums of dx and dweight start from +0.
    """
    (x,), groups = passed.inputs, groups_of(node)
    split = (np.split(part, groups, axis=axis) for part, axis in ((x, 1), (node.tensors["weight"], 0), (gradient, 1)))
    found = [_backward_of_a_group(node, *part) for part in zip(*split, strict=True)]
    inputs, weights = zip(*found, strict=True)
    return (np.concatenate(inputs, axis=1),), {"weight": np.concatenate(weights, axis=1)}


def _backward_of_a_group(node: Node, x: Array, weight: Array, gradient: Array) -> tuple[Array, Array]:
    (pad_y, pad_x), strides = node.attributes["padding"], node.attributes["stride"]
    padded = np.pad(x.astype(np.float32), ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    whole, of_weight = np.zeros(padded.shape, np.float32), np.zeros((len(x), *weight.shape), np.float32)
    geometry = weight.shape[2:], strides, dilation_of(node)
    for (ky, kx, window), (_, _, target) in zip(windows(padded, *geometry), windows(whole, *geometry), strict=True):
        for channel, column in enumerate(weight[:, :, ky, kx].astype(np.float32)):
            target += column[:, None, None] * gradient[:, channel, None]
        for y, x_place in np.ndindex(gradient.shape[2:]):
            of_weight[..., ky, kx] += gradient[:, :, None, y, x_place] * window[:, None, :, y, x_place]
    return whole[:, :, pad_y : pad_y + x.shape[2], pad_x : pad_x + x.shape[3]], of_weight


OP = Op(
    "conv2d",
    arity=1,
    attributes=("encoding", "padding", "role", "stride"),
    optional=("dilation", "groups"),
    tensors=("weight",),
    infer=infer,
    evaluate=evaluate,
    backward=backward,
    price=price,
    is_synapse=True,
)
