"""`seca` in C."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import LARGEST, Arrays, IntegerArray, Scaled, fraction_of_factors, integers_of, shifted
from hdlif.deploy.c.stage_text import Expressions, StageText
from hdlif.deploy.c.text import real
from hdlif.errors import InputError
from hdlif.graph.graph import Node
from hdlif.graph.ops.seca import EXPONENTIAL

LOGIT_BITS, GATE_BITS = 11, 15
"""Fraction bits of the input and the output of the fixed-point sigmoid."""
_FARTHEST = 8
"""Largest magnitude of a logit, at which the sigmoid is 3e-4 from its limit."""
MOST_PIXELS = 2**14
SIGMOID: NDArray[np.int64] = np.minimum(
    np.rint(2**GATE_BITS / (1 + np.exp(-np.clip(np.arange(130) / 8 - _FARTHEST, None, _FARTHEST)))), LARGEST
).astype(np.int64)
"""Values of the sigmoid at -8, -7 7/8, ..., 8; the last value is repeated."""

POWERS = {
    name: real(float(coefficient))
    for name, coefficient in zip(
        ("sixth", "fifth", "fourth", "third", "second", "first"), EXPONENTIAL[:-1], strict=True
    )
}
"""Texts that replace the placeholders of the kernel "exponential"."""


def loops(s: StageText, node: Node) -> None:
    s.file.use("sigmoid", **POWERS)
    x, (_, height, width) = s.pointer(node.inputs[0]), s.shape(node.inputs[0])
    mean = f"work->totals[c] = total / {real(height * width)};"
    _written(
        s, node, x, mean, s.row(node, "bias"), s.rows(node, "weight"), "sigmoid(logit)", f"(NUMBER){x}[i] * gate_of_c"
    )


def fixed_loops(s: StageText, network: Any, node: Node) -> None:
    _, height, width = s.shape(node.inputs[0])
    pixels, x = height * width, s.pointer(node.inputs[0])
    weight, bias, fraction = _factors(network, node)
    raised = 1 << _bits_of_mean(network, node)
    s.file.use("gate", table=", ".join(map(str, SIGMOID)))
    k = Expressions(s, node)
    # the dividend is never negative
    sum_above_0 = f"(uint32_t)(total * {raised} + {pixels * 32768 + pixels // 2})"
    mean = f"work->totals[c] = (int32_t)({sum_above_0} / {pixels}u) - 32768;"
    logit = _logit(k, "logit", fraction).integer
    product = Scaled(f"((int32_t){x}[i] * gate_of_c)", network.fractions[node.inputs[0]] + GATE_BITS)
    value = f"(NUMBER){network.of_total(k, node, product).integer}"
    _written(s, node, x, mean, s.row(node, "bias", bias), s.rows(node, "weight", weight), f"gate({logit})", value)


def _written(s: StageText, node: Node, x: str, mean: str, bias: str, weight: str, gate: str, value: str) -> None:
    """Write loops that compute the means of all channels, then the gate and the entries of each channel."""
    (channels, height, width), kernel = s.shape(node.inputs[0]), node.tensors["weight"].shape[1]
    margin, pixels = kernel // 2, height * width
    s.file.need_totals(channels)
    s.line(f"for (uint32_t c = 0; c < {channels}; c++) {{")
    s.line("TOTAL total = 0;")
    s.line(f"for (uint32_t p = c * {pixels}; p < (c + 1) * {pixels}; p++)")
    s.line(f"total += (TOTAL){x}[p];")
    s.line(mean)
    s.line("}")
    s.line(f"for (uint32_t c = 0, i = 0; c < {channels}; c++) {{")
    s.line(f"TOTAL logit = {bias};")
    s.line(f"for (uint32_t j = 0; j < {kernel}; j++)")
    # entries beyond the channels are 0 and skipped; negative indices wrap around
    s.line(f"if (c + j - {margin} < {channels})")
    s.line(f"logit += {weight}[j] * work->totals[c + j - {margin}];")
    s.line(f"const TOTAL gate_of_c = {gate};")
    s.line(f"for (const uint32_t end = i + {pixels}; i < end; i++) {{")
    s.entry(value)
    s.line("}")
    s.line("}")


def _bits_of_mean(network: Any, node: Node) -> int:
    """Return the number of additional fraction bits in a mean of spike codes, or 0 for a mean of other values."""
    most = network.values[node.inputs[0]].max_code
    return 0 if most is None else 15 - int(most).bit_length()


def _factors(network: Any, node: Node) -> tuple[IntegerArray, IntegerArray, int]:
    """Return the integer weights, the integer biases, and the number of fraction bits of the logit."""
    weight, bias = node.tensors["weight"], node.tensors["bias"]
    x = network.fractions[node.inputs[0]] + _bits_of_mean(network, node)
    bits = fraction_of_factors(np.abs(weight).sum(axis=1))
    if bias.any():
        bits = min(bits, fraction_of_factors(bias, 29) - x)
    if network.values[node.inputs[0]].shape[1] * network.values[node.inputs[0]].shape[2] > MOST_PIXELS or bits + x < 0:
        raise InputError(f"{node.name}: its means may overflow 32 bits in fixed point; export it in float")
    return integers_of(weight, bits), integers_of(bias, bits + x), bits + x


def _logit(k: Any, total: Any, fraction: int) -> Scaled:
    """Clamp a sum to the sigmoid's input range, and convert the result to the sigmoid's input format."""
    end = _FARTHEST << min(fraction, 26)
    inside = k.at_least(k.at_most(total, k.constant(end)), k.constant(-end))
    return shifted(k, Scaled(inside, fraction), LOGIT_BITS)


def fixed_total(network: Any, node: Node, x: Sequence[Scaled], t: int) -> Scaled:
    k, integers = Arrays(t, 2), x[0].integer
    channels, pixels = integers.shape[1], integers.shape[2] * integers.shape[3]
    weight, bias, fraction = _factors(network, node)
    row = weight[min(t, len(weight) - 1)]
    raised = integers.sum(axis=(2, 3)) << _bits_of_mean(network, node)
    mean = (raised + pixels * 32768 + pixels // 2) // pixels - 32768
    margin = len(row) // 2
    neighbours = np.pad(mean, ((0, 0), (margin, margin)))
    total = np.zeros_like(mean) + k.rows("bias", bias)
    for j, factor in enumerate(row):
        total = k.plus(total, k.times(factor, neighbours[:, j : j + channels]))
    at = _logit(k, total, fraction).integer + (_FARTHEST << LOGIT_BITS)
    lower, upper = SIGMOID[at >> 8], SIGMOID[(at >> 8) + 1]
    gate = lower + (((upper - lower) * (at & 255) + 128) >> 8)
    return Scaled(integers * gate[:, :, None, None], x[0].fraction + GATE_BITS)


EMITTER = Emitter("seca", loops=loops, fixed_loops=fixed_loops, fixed_total=fixed_total)
