"""Pack a layer's weights for a C kernel, and write the layer's geometry and the call to the kernel."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.c_file import START, CFile, c_type
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import INPUT, Node
from hdlif.graph.learning import Place
from hdlif.graph.ops.conv2d import dilation_of, groups_of
from hdlif.graph.weights import LARGEST_WEIGHT

BITS = {"binary": 1, "ternary": 2, "int2": 2, "int4": 4, "int8": 8}
TOGETHER = 8
"""Number of outputs that the kernels for codes sum together. Weights of 0 pad rows to a multiple of it."""
OF_VECTORS = 16
"""Number of outputs that vector kernels sum together. They may write this many sums beyond a layer's outputs."""
LARGEST_LANE = 2**15 - 1
"""Largest magnitude of sums that are added two per word."""


@dataclass(frozen=True)
class Rows:
    """The packed weights of a layer.

    Attributes:
        table: array [groups * window * row] of the weights' own type, or packed in uint8.
        row: entries of the table per input of the window.
        bits: bits of a packed weight; 0 for unpacked weights.
        largest: largest magnitude of an integer weight.
    """

    table: NDArray[Any]
    row: int
    bits: int
    largest: int


def rows_of(node: Node, weight: NDArray[Any], *, together: int) -> Rows:
    """Pack a layer's weights in the order [groups][ky][kx][ci][outputs of the group].

    Args:
        weight: the node's own weights, or integers in place of float32.
        together: number of outputs to a multiple of which each row is padded.
    """
    encoding = node.attributes["encoding"]
    if weight.ndim == 2:
        weight = weight[:, :, None, None]
    groups = groups_of(node)
    outputs, inputs, kernel_y, kernel_x = weight.shape
    by_input = weight.reshape(groups, outputs // groups, inputs, kernel_y, kernel_x).transpose(0, 3, 4, 2, 1)
    by_input = by_input.reshape(groups * kernel_y * kernel_x * inputs, outputs // groups)
    if encoding == "float32":
        return Rows(np.ascontiguousarray(by_input).reshape(-1), by_input.shape[1], 0, 0)
    bits = BITS[encoding]
    fill = -by_input.shape[1] % max(together, 8 // bits)
    if encoding == "binary" and fill and groups > 1:
        # single bits cannot encode 0 as padding, and entries beyond a group's outputs belong to the next group
        bits, fill = 2, -by_input.shape[1] % max(together, 4)
    filled = np.pad(by_input, ((0, 0), (0, fill)))
    per_byte = 8 // bits
    fields = (filled > 0) if bits == 1 else filled.astype(np.int8).view(np.uint8) & np.uint8(2**bits - 1)
    shifts = (np.arange(per_byte) * bits).astype(np.uint8)
    parts = fields.astype(np.uint8).reshape(len(filled), -1, per_byte) << shifts
    packed = np.bitwise_or.reduce(parts, axis=2)
    return Rows(packed.reshape(-1), packed.shape[1], bits, LARGEST_WEIGHT[encoding])


def sums_integers(file: CFile, node: Node) -> bool:
    """Return whether a layer has codes as inputs and low-bit weights, in which case its sums are integers."""
    return file.values[node.inputs[0]].max_code is not None and node.attributes["encoding"] != "float32"


def rows_in(file: CFile, node: Node, weight: NDArray[Any]) -> Rows:
    """Pack a layer's weights as `rows_of` does, with padding for vector kernels, which read 4 bytes at a time."""
    rows = rows_of(node, weight, together=TOGETHER if sums_integers(file, node) else 1)
    if file.graph.time_steps > 1 and rows.bits == 2 and rows.row % 4:
        return replace(rows, table=np.pad(rows.table, (0, 2)))
    return rows


def pairs(bits: int, apart: int = 16) -> NDArray[np.uint32]:
    """Return a lookup table that maps each packed field to words, each of which contains two signed 16-bit weights.

    The table's shape is [16, 2] for 1 bit, [256, 2] for 2 bits and [256] for 4 bits. A field contains four 1-bit
    weights, or one byte of wider weights. A word is (lower + 2^apart * upper) modulo 2^32; for example, -1 + 2^16 * 1 =
    0x0000ffff. Multiplying a word by a code yields both products if each product fits in 16 bits.
    """
    fields = np.arange(16 if bits == 1 else 256)
    count = 4 if bits == 1 else 8 // bits
    values = fields[:, None] >> (np.arange(count) * bits) & (2**bits - 1)
    signed = values * 2 - 1 if bits == 1 else np.where(values >= 2 ** (bits - 1), values - 2**bits, values)
    words = (signed[:, 0::2] + 2**apart * signed[:, 1::2]) % 2**32
    found: NDArray[np.uint32] = words.astype(np.uint32)
    return found[:, 0] if found.shape[1] == 1 else found


LISTED = 256
"""Largest number of codes of a window that are listed before they are summed."""


LISTED_STEPS = 128
"""The limit `LISTED` for codes of four steps. Sums of 2-bit weights times codes of up to 15 stay within 13 bits."""


@dataclass(frozen=True)
class Sums:
    """The C call that computes a pixel's sums, with an expression `value` for the sum of channel `c`."""

    call: str
    value: str
    at: str = ""


def synapse(s: StageText, node: Node, inputs: str) -> Sums:
    """Add a convolution or linear layer to the C file, and return the C call that computes the sums of pixel (y, x).

    Args:
        inputs: expression for the layer's input.
    """
    file, weight = s.file, node.tensors["weight"]
    value = file.values[node.inputs[0]]
    is_real = node.attributes["encoding"] == "float32"
    integers, by_pixel = sums_integers(file, node), file.is_by_pixel(node.inputs[0])
    rows = rows_in(file, node, s.arithmetic.weights(node) if is_real else weight)
    name = file.names[node.name].upper()
    window = math.prod(weight.shape[1:])
    most = LISTED
    if integers and rows.bits < 8:
        most = min(most, LARGEST_LANE // ((value.max_code or 1) * rows.largest))
    most = min(most, window)
    _add_layer(file, node, f"{name}__LAYER", rows.row, most)
    kind, weights = c_type(rows.table), s.weights(node, c_type(rows.table))
    start = START if Place(node.name, "weight") in file.learned else ""
    file.add_table(f"{kind} {weights}{start}[{rows.table.size}]", rows.table)
    # padded rows extend beyond the outputs of the last group
    outputs = len(weight) + TOGETHER
    file.additions += window * file.size(node.name)
    if integers and file.steps > 1:
        stored = file.steps_of(node.inputs[0])
        apart = len(weight) + OF_VECTORS
        file.sums, file.listed = max(file.sums, apart * stored), LISTED_STEPS
        channels, height, width = s.shape(node.inputs[0])
        file.need_active(height, width * channels, width * groups_of(node) + 1)
        parts = {
            "stored": str(stored),
            "most": str(LISTED_STEPS),
            "beyond": str(OF_VECTORS),
            "pairs": _pairs_text(2, 13),
            "fits": str(int(file.fits_16_bits)),
        }
        file.use("conv_steps", **parts)
        s.line(f"list_active(&{name}__LAYER, {inputs}, work->active, work->begin);")
        call = f"conv_steps(&{name}__LAYER, {weights}, {inputs}, y, x, work);"
        total = f"{file.names[node.name]}__sum"
        s.carry(f"{s.local(False)} {total} = {s.loaded('totals', '0')};")
        of_step = s.loaded("numbers" if file.fits_16_bits else "totals", f"work->sums[t * {apart} + c]")
        return Sums(call, s.arithmetic.of_total(s, node, total), f"{total} += {of_step};")
    if integers:
        file.use("conv_codes")
        if rows.bits < 8:
            file.use(f"add_{rows.bits}bit", table=_pairs_text(rows.bits))
        else:
            file.use("add_8bit")
        file.sums, file.listed = max(file.sums, outputs), max(file.listed, most)
        file.longest_window = max(file.longest_window, window)
        call = f"conv_codes(&{name}__LAYER, add_{rows.bits}bit, {weights}, {inputs}, y, x, work);"
        return Sums(call, s.arithmetic.of_total(s, node, "(TOTAL)work->sums[c]"))
    kind, word = ("NUMBER", "numbers") if value.max_code is None else ("uint8_t", "codes_by_reals")
    steps, apart = (1, 1) if file.is_constant(node.inputs[0]) else (file.steps, file.steps_of(node.inputs[0]))
    later = 1
    if steps > 1:
        word += "_of_steps"
        if file.base[node.inputs[0]] == INPUT:
            word, apart, later = f"frames_{word}", 1, file.size(INPUT)
    parts = {
        "input": word,
        "type": kind,
        "steps": str(steps),
        "pixel": f"{apart}u",
        "channel": f"(layer->height * layer->width * {apart}u)",
    }
    if by_pixel:
        word = parts["input"] = f"pixels_{word}"
        parts |= {"pixel": f"(layer->groups * layer->channels * {apart}u)", "channel": f"{apart}u"}
    has_vectors = kind == "NUMBER" and s.arithmetic.number == "int16_t" and later == 1
    parts |= {"vectors": str(int(has_vectors))} | _each_step(steps, later)
    file.use("conv_numbers", **parts)
    if rows.bits == 0:
        file.use("add_by_reals", **parts)
        add = f"add_{word}_by_reals"
    elif rows.bits == 1:
        file.use("add_by_1bit", **parts)
        add = f"add_{word}_by_1bit"
    else:
        bits = rows.bits
        more = _each_field(bits, steps, later) | {"bits": str(bits), "per_byte": str(8 // bits)}
        file.use("add_by_bits", **parts, **more)
        add = f"add_{word}_by_{bits}bit"
    file.need_totals(outputs * steps)
    call = f"conv_{word}(&{name}__LAYER, {add}, {weights}, {inputs}, y, x, work->totals);"
    place = "c" if steps == 1 else f"c * {steps} + t"
    return Sums(call, s.arithmetic.of_total(s, node, s.loaded("totals", f"work->totals[{place}]", steps)))


def layer_backward(s: BackwardText, node: Node) -> None:
    """Write the backward pass of a convolution or a linear layer."""
    file, layer, (_, height, width) = s.file, f"{s.file.names[node.name].upper()}__LAYER", s.shape(node.name)
    rows, source = rows_in(file, node, node.tensors["weight"]), node.inputs[0]
    if s.wants(0):
        file.use("back_through")
        weights = s.weights(node, c_type(rows.table))
        s.each_input(0, f"back_through(&{layer}, {weights}, {rows.bits}, {s.own}, {height}, {width}, c, y, x)")
    if s.trains("weight"):
        file.use("add_gradients")
        x = f"0, {s.pointer(source)}" if file.values[source].max_code is None else f"{s.pointer(source)}, 0"
        sums = f"sums->{file.weights(node).lower()}"
        s.line(f"add_gradients(&{layer}, {rows.bits}, {x}, {s.own}, {height}, {width}, {sums});")


def _each_step(steps: int, later: int) -> dict[str, str]:
    """Return C statements for all time steps of an input that stores consecutive steps `later` entries apart."""
    forms = {
        "read": "const TOTAL x{t} = (TOTAL)input[{at}];",
        "plus": "total[{t}] += x{t};",
        "minus": "total[{t}] -= x{t};",
        "times": "total[{t}] += weight * x{t};",
    }
    return {key: " ".join(form.format(t=t, at=t * later) for t in range(steps)) for key, form in forms.items()}


def _each_field(bits: int, steps: int, later: int) -> dict[str, str]:
    """Return C statements for all weights in a byte, with one local variable per sum and time step."""
    mask, sign = 2**bits - 1, 2 ** (bits - 1)
    found: dict[str, list[str]] = {"begin": [], "add_all": [], "end": []}
    for k in range(8 // bits):
        totals = [(f"sum{k}_{t}", f"totals[{k * steps + t}]", f"x{t}") for t in range(steps)]
        field = f"fields >> {k * bits} & {mask}u"
        plus, minus = (" ".join(f"{own} {sign} {x};" for own, _, x in totals) for sign in ("+=", "-="))
        found["begin"] += [f"TOTAL {own} = {there};" for own, there, _ in totals]
        found["end"] += [f"{there} = {own};" for own, there, _ in totals]
        found["add_all"] += [f"if (({field}) == 1u) {{ {plus} }}", f"else if (({field}) == {mask}u) {{ {minus} }}"]
        if bits > 2:
            weight = f"(TOTAL)((int32_t)(({field}) ^ {sign}u) - {sign})"
            times = " ".join(f"{own} += weight * {x};" for own, _, x in totals)
            found["add_all"].append(f"else if (({field}) != 0u) {{ const TOTAL weight = {weight}; {times} }}")
    read = [f"const TOTAL x{t} = (TOTAL)from[{t * later}];" for t in range(steps)]
    vectors: dict[str, list[str]] = {"begin_vectors": [], "add_vectors": [], "end_vectors": []}
    for k in range(8 // bits):
        there, drop = f"totals + {k * steps} + t", 32 - bits
        vectors["begin_vectors"].append(f"int32x4_t sum{k} = vldrwq_s32({there});")
        vectors["add_vectors"].append(
            f"sum{k} = vmlaq_n_s32(sum{k}, x, (int32_t)((uint32_t)fields << {drop - k * bits}) >> {drop});"
        )
        vectors["end_vectors"].append(f"vstrwq_s32({there}, sum{k});")
    return {key: "\n".join(lines) for key, lines in (found | vectors).items()} | {"read_all": " ".join(read)}


def _add_layer(file: CFile, node: Node, name: str, row: int, most: int) -> None:
    channels, *rest = file.values[node.inputs[0]].shape
    height, width = rest or (1, 1)
    weight, groups = node.tensors["weight"], groups_of(node)
    kernel_y, kernel_x = weight.shape[2:] or (1, 1)
    stride, padding = node.attributes.get("stride", (1, 1)), node.attributes.get("padding", (0, 0))
    numbers = (channels // groups, height, width, len(weight) // groups, groups, kernel_y, kernel_x)
    file.add_numbers(f"struct layer {name}", (*numbers, *stride, *padding, *dilation_of(node), row, most))


def _pairs_text(bits: int, apart: int = 16) -> str:
    words = pairs(bits, apart)
    rows = [f"{{{', '.join(f'{word:#x}u' for word in row)}}}" if words.ndim == 2 else f"{row:#x}u" for row in words]
    return "\n" + ",\n".join(", ".join(rows[k : k + 4]) for k in range(0, len(rows), 4)) + "\n"
