"""The seca op (channel attention), y = x · sigmoid(bias[t] + sum over j of weight[t, j] · a[c + j - (k - 1) / 2]).

The term `a[c]` is the mean of channel c of x over (row, column), or 0 if channel c does not exist. The sigmoid is
defined in docs/contributing/model_format.md.
"""

import math
from collections.abc import Sequence

import numpy as np

from hdlif.graph.fields import map_shape, rows_of
from hdlif.graph.graph import Array, Floats, Node, Value
from hdlif.graph.op import ADD, MAC, MULTIPLY, Op, Seen, Work, taps_on_map
from hdlif.graph.ops.global_sum_pool import evaluate as summed

LOG2_E = np.float32(1.44269504)
LN_2_HIGH, LN_2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
# Coefficients of e^-r, highest power first: 1/6!, -1/5!, ..., 1.
EXPONENTIAL = tuple(np.float32((-1) ** k / math.factorial(k)) for k in range(6, -1, -1))
SIGMOID = MAC * 10 + ADD
"""Operations of a sigmoid: one for the cap, one to find the power of two, two to reduce, six for the polynomial, and
one for sum and quotient."""


def infer(node: Node, inputs: tuple[Value, ...], time_steps: int) -> Value:
    shape = map_shape(node, inputs[0])
    weight = rows_of(node, "weight", time_steps, lambda n: n % 2 == 1 and n < 2**15, "an odd number")
    bias = rows_of(node, "bias", time_steps, lambda n: n == 1, "1")
    return Value(shape, constant=inputs[0].constant and len(weight) == len(bias) == 1)


def evaluate(node: Node, t: int, inputs: Sequence[Array], states: dict[str, Array]) -> Array:
    (x,) = inputs
    channels, pixels = x.shape[1], x.shape[2] * x.shape[3]
    mean = summed(node, t, inputs, states) / np.float32(pixels)
    (weight, bias) = (node.tensors[key][min(t, len(node.tensors[key]) - 1)] for key in ("weight", "bias"))
    margin = len(weight) // 2
    neighbours = np.pad(mean, ((0, 0), (margin, margin)))
    logit = np.full(mean.shape, bias, np.float32)
    for j, factor in enumerate(weight):
        logit += factor * neighbours[:, j : j + channels]
    return x.astype(np.float32) * sigmoid(logit)[:, :, None, None]


def sigmoid(x: Floats) -> Floats:
    """Return σ(x) within 1e-6, with the float32 operations defined in docs/contributing/model_format.md."""
    one, e = np.float32(1), exponential(np.abs(x))
    gate: Floats = np.where(x >= 0, one, e) / (one + e)
    return gate


def exponential(x: Floats) -> Floats:
    """Return e^-x for x >= 0, or e^-30 if x is above 30 or NaN, as defined in docs/contributing/model_format.md."""
    a = np.where(x < 30, x, np.float32(30))
    n = np.floor(a * LOG2_E + np.float32(0.5))
    r = (a - n * LN_2_HIGH) - n * LN_2_LOW
    p = np.full_like(r, EXPONENTIAL[0])
    for coefficient in EXPONENTIAL[1:]:
        p = p * r + coefficient
    power: Floats = np.ldexp(p, -n.astype(np.int32))
    return power


def price(node: Node, seen: Seen) -> Work:
    channels, height, width = seen.types[node.name].shape
    kernel = int(node.tensors["weight"].shape[1])
    neighbours = taps_on_map(channels, channels, kernel, 1, kernel // 2)
    # Each entry is added to its channel's mean and multiplied by the gate.
    step = MAC * (channels * height * width) + MULTIPLY * channels + MAC * neighbours + SIGMOID * channels
    return step * (seen.entries_per_image(node) / (channels * height * width))


OP = Op("seca", 1, infer, evaluate, price, tensors=("weight", "bias"), noun="a channel attention, SECA")
