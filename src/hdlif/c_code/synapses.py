"""The weights, geometry and kernels of a layer in C."""

import math
from dataclasses import dataclass

from hdlif.c_code.c_file import CFile, c_type
from hdlif.c_code.stage_text import StageText
from hdlif.c_code.weights import LARGEST_LANE, TOGETHER, pairs, rows_of
from hdlif.ops import Node
from hdlif.ops.conv2d import dilation_of, groups_of

LISTED = 256
"""Most codes of a window that are listed before they are added up."""


@dataclass(frozen=True)
class Sums:
    """The call that adds up a pixel's sums, and the value of channel c of it."""

    call: str
    value: str


def synapse(s: StageText, node: Node, inputs: str) -> Sums:
    """Write a convolution or linear layer into the file, and return the call for pixel (y, x).

    Args:
        inputs: the expression of the layer's input.
    """
    file, weight = s.file, node.tensors["weight"]
    value = file.values[node.inputs[0]]
    is_real = node.attributes["encoding"] == "float32"
    integers = value.max_code is not None and not is_real
    rows = rows_of(node, s.arithmetic.weights(node) if is_real else weight, together=TOGETHER if integers else 1)
    name = file.names[node.name].upper()
    window = math.prod(weight.shape[1:])
    most = LISTED
    if integers and rows.bits < 8:
        most = min(most, LARGEST_LANE // ((value.max_code or 1) * rows.largest))
    most = min(most, window)
    _add_layer(file, node, f"{name}__LAYER", rows.row, most)
    kind = c_type(rows.table)
    file.add_table(f"{kind} {name}__WEIGHTS[{rows.table.size}]", rows.table)
    # of rows that are filled up, the last group's go beyond its outputs
    outputs = len(weight) + TOGETHER
    file.additions += window * file.size(node.name)
    if integers:
        file.use("conv_codes")
        if rows.bits < 8:
            file.use(f"add_{rows.bits}bit", table=_pairs_text(rows.bits))
        else:
            file.use("add_8bit")
        file.sums, file.listed = max(file.sums, outputs), max(file.listed, most)
        file.longest_window = max(file.longest_window, window)
        call = f"conv_codes(&{name}__LAYER, add_{rows.bits}bit, {name}__WEIGHTS, {inputs}, y, x, work);"
        return Sums(call, s.arithmetic.of_total(s, node, "(TOTAL)work->sums[c]"))
    kind, word = ("NUMBER", "numbers") if value.max_code is None else ("uint8_t", "codes_by_reals")
    parts = {"input": word, "type": kind}
    file.use("conv_numbers", **parts)
    if rows.bits == 0:
        file.use("add_by_reals", **parts)
        add = f"add_{word}_by_reals"
    elif rows.bits == 1:
        file.use("add_by_1bit", **parts)
        add = f"add_{word}_by_1bit"
    else:
        bits = rows.bits
        more = {"bits": bits, "per_byte": 8 // bits, "mask": 2**bits - 1, "sign": 2 ** (bits - 1)}
        file.use("add_by_bits", **parts, **{key: str(number) for key, number in more.items()})
        add = f"add_{word}_by_{bits}bit"
    file.need_totals(outputs)
    call = f"conv_{word}(&{name}__LAYER, {add}, {name}__WEIGHTS, {inputs}, y, x, work);"
    return Sums(call, s.arithmetic.of_total(s, node, "work->totals[c]"))


def _add_layer(file: CFile, node: Node, name: str, row: int, most: int) -> None:
    channels, *rest = file.values[node.inputs[0]].shape
    height, width = rest or (1, 1)
    weight, groups = node.tensors["weight"], groups_of(node)
    kernel_y, kernel_x = weight.shape[2:] or (1, 1)
    stride, padding = node.attributes.get("stride", (1, 1)), node.attributes.get("padding", (0, 0))
    numbers = (channels // groups, height, width, len(weight) // groups, groups, kernel_y, kernel_x)
    file.add_numbers(f"struct layer {name}", (*numbers, *stride, *padding, *dilation_of(node), row, most))


def _pairs_text(bits: int) -> str:
    words = pairs(bits)
    rows = (f"{{{', '.join(f'{word:#x}u' for word in row)}}}" if words.ndim == 2 else f"{row:#x}u" for row in words)
    return "\n" + ",\n".join(", ".join(batch) for batch in _fours(list(rows))) + "\n"


def _fours(parts: list[str]) -> list[list[str]]:
    return [parts[k : k + 4] for k in range(0, len(parts), 4)]
