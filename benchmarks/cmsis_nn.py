"""The layers of a graph as an ordinary int8 network in CMSIS-NN: a program for a microcontroller that checks itself.

Convolutions, linear layers and pools follow one another on two maps, with random weights of 8 bits, a multiplier and a
shift per output channel, and ReLU by the range of the outputs (zero point -128). Activations are channels last. Each
layer reads the first bytes of a map and writes the first bytes of the other. The program compares every layer's outputs
with those of `outputs_of` by a hash, and fails where they differ.
"""

import math
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hdlif.deploy.c.text import indented, table
from hdlif.graph.artefact import Graph
from hdlif.graph.fields import windows
from hdlif.graph.inference import infer_values
from hdlif.graph.ops.conv2d import dilation_of, groups_of

ADDRESS = "https://github.com/ARM-software/CMSIS-NN"
SOURCES = {
    "ConvolutionFunctions": (
        *("convolve_wrapper_s8", "convolve_s8", "convolve_1x1_s8", "convolve_1x1_s8_fast", "convolve_1_x_n_s8"),
        *("convolve_get_buffer_sizes_s8", "nn_mat_mult_kernel_s8_s16", "nn_mat_mult_kernel_row_offset_s8_s16"),
        *("depthwise_conv_get_buffer_sizes_s8",),
    ),
    "FullyConnectedFunctions": ("fully_connected_s8", "fully_connected_get_buffer_sizes_s8", "vector_sum_s8"),
    "NNSupportFunctions": (
        *("nn_mat_mult_nt_t_s8", "nn_mat_mul_core_1x_s8", "nn_mat_mul_core_4x_s8", "nn_vec_mat_mult_t_s8"),
        *("s8_to_s16_unordered_with_offset", "q7_to_q15_with_offset"),
    ),
    "PoolingFunctions": ("avgpool_s8", "avgpool_get_buffer_sizes_s8", "max_pool_s8"),
}
"""The library's files that the program needs, without `arm_`."""
POOLS = {"sum_pool": "avgpool", "global_sum_pool": "avgpool", "max_pool": "max_pool"}
SEED = 0


@dataclass(frozen=True)
class Layer:
    """A convolution, linear layer or pool.

    Attributes:
        op: `convolve_wrapper`, `fully_connected`, `avgpool` or `max_pool`.
        inputs, outputs: [height, width, channels].
        weights: int8 [outputs, ky, kx, channels of a group]; empty for a pool, as are bias, multiplier and shift.
    """

    op: str
    inputs: tuple[int, int, int]
    outputs: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int32]


def layers_of(graph: Graph) -> list[Layer]:
    """Layers with random weights and the shapes of the graph's own."""
    rng, types, found = np.random.default_rng(SEED), infer_values(graph), []
    for node in graph.nodes:
        if "weight" not in node.tensors and node.op not in POOLS:
            continue
        channels, height, width = (*types[node.inputs[0]].shape, 1, 1)[:3]
        outputs, out_height, out_width = (*types[node.name].shape, 1, 1)[:3]
        kernel = (height, width) if node.op == "global_sum_pool" else node.attributes.get("kernel", (1, 1))
        op, groups, count = POOLS.get(node.op, ""), 1, 0
        shape: tuple[int, ...] = (0,)
        if not op:
            op = "fully_connected" if node.op == "linear" else "convolve_wrapper"
            kernel, groups, count = node.tensors["weight"].shape[2:] or (1, 1), groups_of(node), outputs
            shape = (outputs, *kernel, channels // groups)
        # outputs spread over the range of 8 bits: inputs and weights are about 75 in size
        drop = round(math.log2(75 * 75 * math.sqrt(max(1, math.prod(shape[1:]))) / 50)) - 1
        found.append(
            Layer(
                op,
                (height, width, channels),
                (out_height, out_width, outputs),
                tuple(kernel),
                tuple(node.attributes.get("stride", (1, 1))),
                tuple(node.attributes.get("padding", (0, 0))),
                dilation_of(node) if op == "convolve_wrapper" else (1, 1),
                groups,
                rng.integers(-127, 128, shape).astype(np.int8),
                rng.integers(-1000, 1000, count).astype(np.int32),
                rng.integers(2**30, 2**31, 1 if op == "fully_connected" else count).astype(np.int32),
                np.full(1 if op == "fully_connected" else count, -drop, np.int32),
            )
        )
    return found


def outputs_of(layer: Layer, x: NDArray[np.int8]) -> NDArray[np.int8]:
    """The outputs [H, W, C] of inputs [H, W, C], rounded as the library does by default.

    y = min(max(round(round(total * multiplier / 2^31) / 2^-shift) - 128, -128), 127), where total is the sum of
    weights times (x + 128), and the bias; the last rounding takes halves away from 0.
    """
    (pad_y, pad_x), padding = layer.padding, -128
    edges = ((0, 0), (pad_y, pad_y), (pad_x, pad_x))
    padded = np.pad(x.transpose(2, 0, 1).astype(np.int64), edges, constant_values=padding)[None]
    if layer.op in POOLS.values():
        taps = np.stack([w[0] for _, _, w in windows(padded, layer.kernel, layer.stride)])
        total = taps.sum(axis=0)
        half = len(taps) // 2
        mean = np.where(total > 0, (total + half) // len(taps), -((half - total) // len(taps)))
        return (taps.max(axis=0) if layer.op == "max_pool" else mean).transpose(1, 2, 0).astype(np.int8)
    parts = np.split(padded, layer.groups, axis=1), np.split(layer.weights.astype(np.int64), layer.groups)
    total = np.concatenate(
        [
            sum(
                np.tensordot(own[:, v, u], w[0] + 128, 1)
                for v, u, w in windows(part, layer.kernel, layer.stride, layer.dilation)
            )
            for part, own in zip(*parts, strict=True)
        ]
    )
    wide = (-1, 1, 1)
    high = ((total + layer.bias.reshape(wide)) * layer.multiplier.reshape(wide) + 2**30) >> 31
    drop = -layer.shift.reshape(wide).astype(np.int64)
    rest, half = high & ((1 << drop) - 1), ((1 << drop) - 1) >> 1
    scaled = (high >> drop) + (rest > half + (high < 0))
    return np.clip(scaled - 128, -128, 127).transpose(1, 2, 0).astype(np.int8)


def hashes(layers: list[Layer], start: NDArray[np.int8]) -> Iterator[int]:
    """The hash of each layer's outputs, from two maps [2, bytes]."""
    maps = start.copy()
    for place, layer in enumerate(layers):
        inputs = maps[place % 2][: math.prod(layer.inputs)].reshape(layer.inputs)
        outputs = outputs_of(layer, inputs).reshape(-1)
        maps[1 - place % 2][: outputs.size] = outputs
        value = 0
        for byte in outputs.view(np.uint8).tolist():
            value = (value * 31 + byte) % 2**32
        yield value


_HEAD = """\
#include <string.h>

#include "arm_nnfunctions.h"
#include "network.h"
#include "port.h"

static int32_t scratch[%d], kernel_sums[%d];
static int8_t maps[2][%d];
static uint32_t differ, largest_scratch;
static cmsis_nn_context context = {scratch, sizeof scratch};
static const cmsis_nn_context sums = {kernel_sums, sizeof kernel_sums};

/* Compares the outputs of a layer with the oracle's, where they are checked. */
static void finish(int checked, uint32_t layer, arm_cmsis_nn_status status, const int8_t *outputs, uint32_t count)
{
    uint32_t value = 0;
    if (!checked)
        return;
    for (uint32_t k = 0; k < count; k++)
        value = value * 31u + (uint8_t)outputs[k];
    if (status == ARM_CMSIS_NN_SUCCESS && value == EXPECTED[layer])
        return;
    differ++;
    put("layer ");
    put_number(layer);
    put(" differs\\n");
}

static void needs(int32_t bytes)
{
    if (bytes > (int32_t)sizeof scratch)
        differ++;
}
"""

_TAIL = """
uint32_t check(void)
{
    prepare();
    memcpy(maps, START, sizeof maps);
    run(1);
    memcpy(maps, START, sizeof maps);
    return differ;
}
"""
_HEADER = """\
#include <stdint.h>

/* Runs all layers, and compares their outputs if they are to be checked. */
void run(int checked);

/* How many layers' outputs are others than expected; makes the maps ready to be run. */
uint32_t check(void);
"""
_MAIN = """\
#include "network.h"
#include "port.h"

int main(void)
{
    CALIBRATION
    const uint32_t differ = check();
    start_ticks();
    run(0);
    put("sample: ");
    put_number(ticks());
    put(" ticks\\n");
    return differ != 0;
}
"""


def program(graph: Graph, calibration: str) -> Mapping[str, str]:
    """The files of the program; `make_variables` says how they are built.

    Args:
        calibration: statements in front of the measurement.
    """
    layers = layers_of(graph)
    size = max(math.prod(shape) for layer in layers for shape in (layer.inputs, layer.outputs))
    start = np.random.default_rng(SEED + 1).integers(-128, 128, (2, size)).astype(np.int8)
    window = max(math.prod(layer.kernel) * layer.inputs[2] for layer in layers)
    expected = np.array(list(hashes(layers, start)), np.int64)
    tables = f"static const uint32_t EXPECTED[{len(layers)}] = {{{', '.join(f'{v}u' for v in expected)}}};\n"
    tables += table(f"int8_t START[2][{size}]", start)
    # for the library's largest buffer: four columns of the window, rounded up, of 8 bits, or two of 16
    text = _HEAD % (window + 16, max(layer.outputs[2] for layer in layers), size)
    text = text.replace("static int32_t scratch", tables + "\nstatic int32_t scratch", 1)
    prepared, run = [], []
    for place, layer in enumerate(layers):
        declared, before, call = _layer(layer, place)
        text += declared
        prepared.append(before)
        run.append(f"finish(checked, {place}, {call}, maps[{1 - place % 2}], {math.prod(layer.outputs)});")
    text += "\nstatic void prepare(void)\n{\n" + "\n".join(filter(None, prepared)) + "\n}\n"
    text += "\nvoid run(int checked)\n{\n" + "\n".join(run) + "\n}\n"
    main = _MAIN.replace("CALIBRATION", calibration)
    return {"network.c": indented(text) + _TAIL, "network.h": _HEADER, "main.c": main, "samples.h": ""}


def _layer(layer: Layer, place: int) -> tuple[str, str, str]:
    """Declarations, statements before the first run, and the call."""

    def dims(name: str, n: int, h: int, w: int, c: int) -> str:
        return f"static const cmsis_nn_dims {name}_{place} = {{{n}, {h}, {w}, {c}}};\n"

    (height, width, channels), (out_height, out_width, outputs) = layer.inputs, layer.outputs
    within, (ky, kx) = channels // layer.groups, layer.kernel
    is_linear, is_pool = layer.op == "fully_connected", layer.op in POOLS.values()
    text = dims("inputs", 1, height, width, channels) + dims("outputs", 1, out_height, out_width, outputs)
    text += dims("filter", *((channels, 1, 1, outputs) if is_linear else (outputs, ky, kx, within)))
    tiles = [f"{{{x}, {y}}}" for y, x in (layer.stride, layer.padding, layer.dilation)]
    maps = f"maps[{place % 2}]", f"maps[{1 - place % 2}]"
    if is_pool:
        text += f"static const cmsis_nn_pool_params params_{place} = {{{tiles[0]}, {tiles[1]}, {{-128, 127}}}};\n"
        before = f"needs(arm_avgpool_s8_get_buffer_size({out_width}, {channels}));" if layer.op == "avgpool" else ""
        call = (
            f"arm_{layer.op}_s8(&context, &params_{place}, &inputs_{place}, {maps[0]}, &filter_{place}, "
            f"&outputs_{place}, {maps[1]})"
        )
        return text, before, call
    text += table(f"int8_t WEIGHTS_{place}[{layer.weights.size}]", layer.weights.reshape(-1))
    text += table(f"int32_t BIAS_{place}[{outputs}]", layer.bias)
    text += dims("bias", 1, 1, 1, outputs)
    if is_linear:
        text += f"static const cmsis_nn_fc_params params_{place} = {{128, 0, -128, {{-128, 127}}}};\n"
        scale = f"{{{layer.multiplier[0]}, {layer.shift[0]}}}"
        text += f"static const cmsis_nn_per_tensor_quant_params scale_{place} = {scale};\n"
        weights = f"WEIGHTS_{place}, 128, 0, BIAS_{place}"
        before = f"arm_vector_sum_s8(kernel_sums, {channels}, {outputs}, {weights});"
    else:
        # the library's structure points to numbers that are not constant, and reads them
        text += table(f"int32_t MULTIPLIER_{place}[{outputs}]", layer.multiplier)
        text += table(f"int32_t SHIFT_{place}[{outputs}]", layer.shift)
        scale = f"{{(int32_t *)MULTIPLIER_{place}, (int32_t *)SHIFT_{place}}}"
        text += f"static const cmsis_nn_per_channel_quant_params scale_{place} = {scale};\n"
        numbers = f"128, -128, {', '.join(tiles)}, {{-128, 127}}"
        text += f"static const cmsis_nn_conv_params params_{place} = {{{numbers}}};\n"
        shapes = f"&params_{place}, &inputs_{place}, &filter_{place}, &outputs_{place}"
        before = f"needs(arm_{layer.op}_s8_get_buffer_size({shapes}));"
    call = (
        f"arm_{layer.op}_s8({'&sums' if is_linear else '&context'}, &params_{place}, &scale_{place}, "
        f"&inputs_{place}, {maps[0]}, &filter_{place}, WEIGHTS_{place}, &bias_{place}, BIAS_{place}, "
        f"&outputs_{place}, {maps[1]})"
    )
    return text, before, call


def make_variables(folder: Path, device: str) -> list[str]:
    """What make is given beside the device to build the program with the checkout in `folder`, as the library advises.

    Raises:
        SystemExit: the folder is no checkout of the library.
    """
    files = [folder / "Source" / part / f"arm_{name}.c" for part, names in SOURCES.items() for name in names]
    missing = next((file for file in (folder / "Include/arm_nnfunctions.h", *files) if not file.is_file()), None)
    if missing is not None:
        raise SystemExit(f"--cmsis-nn {folder}: has no {missing.relative_to(folder)}; give a checkout of {ADDRESS}")
    flags = f"-Ofast -I{folder.resolve() / 'Include'}"
    if device == "cortex-m4":
        # of the same bits, and faster there, by the library's README
        flags += " -DCMSIS_NN_USE_REQUANTIZE_INLINE_ASSEMBLY"
    sources = " ".join(("main.c", "startup.c", *(str(file.resolve()) for file in files)))
    return [f"SOURCES={sources}", f"CFLAGS={flags}", "WARNINGS=-std=gnu99"]


def commit(folder: Path | None) -> str | None:
    """Of a checkout."""
    if folder is None:
        return None
    done = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or None
