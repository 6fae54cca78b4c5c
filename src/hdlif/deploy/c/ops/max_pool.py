"""`max_pool` in C."""

from hdlif.deploy.c.backward_text import BackwardText
from hdlif.deploy.c.emitter import Emitter
from hdlif.deploy.c.fixed.values import moved
from hdlif.deploy.c.stage_text import StageText
from hdlif.graph.graph import Node


def loops(s: StageText, node: Node) -> None:
    name, (_, height, width) = node.inputs[0], s.shape(node.inputs[0])
    (kernel_y, kernel_x), (stride_y, stride_x) = node.attributes["kernel"], node.attributes["stride"]
    pad_y, pad_x = node.attributes["padding"]
    kind = "NUMBER" if s.value(node.inputs[0]).max_code is None else "uint8_t"
    largest = (
        f"{kind} largest = {s.at(name, 'c', f'top * {width} + left')};\n"
        "for (uint32_t v = top; v < bottom; v++)\n"
        "for (uint32_t u = left; u < right; u++) {\n"
        f"const {kind} other = {s.at(name, 'c', f'v * {width} + u')};\n"
        "if (other > largest)\n"
        "largest = other;\n"
        "}"
    )
    with s.pixels(node.name):
        # every window covers part of the map, because the padding is smaller than the kernel
        s.line(f"const uint32_t top = begin_of(y * {stride_y}, {pad_y});")
        s.line(f"const uint32_t left = begin_of(x * {stride_x}, {pad_x});")
        s.line(f"const uint32_t bottom = end_of(y * {stride_y} + {kernel_y}, {pad_y}, {height});")
        s.line(f"const uint32_t right = end_of(x * {stride_x} + {kernel_x}, {pad_x}, {width});")
        s.entry("largest", at=largest)
    s.file.use("window")


def backward(s: BackwardText, node: Node) -> None:
    """Write the backward pass, which adds each window's gradient to the first entry with the window's maximum."""
    x, y, (_, height, width) = s.pointer(node.inputs[0]), s.pointer(node.name), s.shape(node.inputs[0])
    (_, kernel_x), (stride_y, stride_x) = node.attributes["kernel"], node.attributes["stride"]
    pad_y, pad_x = node.attributes["padding"]
    s.each_window(
        node,
        f"int is_first = {x}[i] == {y}[from];\n"
        "for (int32_t q = 0; q < tap && is_first; q++) {\n"
        f"const int32_t v = row * {stride_y} + q / {kernel_x} - {pad_y};\n"
        f"const int32_t u = column * {stride_x} + q % {kernel_x} - {pad_x};\n"
        f"const int is_on_map = v >= 0 && v < {height} && u >= 0 && u < {width};\n"
        f"is_first = !is_on_map || {x}[(c * {height} + (uint32_t)v) * {width} + (uint32_t)u] != {x}[i];\n"
        "}\n"
        "if (is_first)",
    )


EMITTER = Emitter("max_pool", loops=loops, backward=backward, fixed_move=moved, is_in_answers=True)
