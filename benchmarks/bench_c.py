"""What a step of a network costs a microcontroller: in C as `hdlif export --to c` writes it, beside dense int8 layers.

    python benchmarks/bench_c.py ARTEFACT --data NAME|PATH [--data-root DIR] [--samples 8] [--devices cortex-m4,...]
                                 [--out FILE.json]

Instructions that QEMU counts (`-icount shift=0`: one is one nanosecond of the emulated clock, read from the processor's
own counter of ticks, which a loop of known length calibrates in the same run), of a step, the mean and the longest over
samples for testing. On a chip a step takes as many cycles or more: these are no times.

float, fixed: the network as it is written, with codes of 0 left out.
dense int8: the same convolutions and linear layers, with weights and activations of 8 bits, computed in the way of the
    reference kernels of TensorFlow Lite for Microcontrollers: channels last, an offset of the input, one multiplier and
    shift for each output channel. Nothing else of the network is in it: no neurons, no sums of shortcuts, no pools.

Needs make, gcc-arm-none-eabi and qemu-system-arm.
"""

import argparse
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hdlif.deploy.c import translate
from hdlif.deploy.c.building import firmware
from hdlif.deploy.c.devices import installed
from hdlif.deploy.c.text import table
from hdlif.graph.artefact import Graph, load
from hdlif.graph.ops import infer_values
from hdlif.report.fixed_point import rounded_on_data, sets_of, shown
from hdlif.report.tables import aligned
from hdlif.runtime import reference
from recorded import write_record

DEVICES = ("cortex-m0plus-mps2", "cortex-m4", "cortex-m55")
LOOPS = 1_000_000
"""Of two instructions each, by which ticks are calibrated."""

_CALIBRATION = """
    uint32_t left = %d;
    start_ticks();
    __asm volatile(".syntax unified\\n1: subs %%0, %%0, #1\\n\\tbne 1b" : "+l"(left) : : "cc");
    put("loop: ");
    put_number(ticks());
    put(" ticks\\n");
"""

_DENSE = """
#include <stdint.h>

#include "dense.h"

struct layer {
    int32_t height, width, channels, out_height, out_width, outputs;
    int32_t kernel_y, kernel_x, stride_y, stride_x, pad_y, pad_x;
};

/* round(x * multiplier / 2^31 / 2^shift), as the reference kernels round. */
static int32_t scaled(int32_t x, int32_t multiplier, int32_t shift)
{
    const int64_t product = (int64_t)x * multiplier;
    const int32_t high = (int32_t)((product + (product >= 0 ? 1 << 30 : 1 - (1 << 30))) / (1ll << 31));
    const int32_t mask = (1 << shift) - 1, rest = high & mask;
    return (high >> shift) + (rest > (mask >> 1) + (high < 0));
}

static void layer(const struct layer *l, const int8_t *weights, const int32_t *bias, const int32_t *multiplier,
                  const int8_t *shift, const int8_t *inputs, int8_t *outputs)
{
    const int32_t input_offset = 3, output_offset = -2;
    for (int32_t y = 0; y < l->out_height; y++)
        for (int32_t x = 0; x < l->out_width; x++)
            for (int32_t o = 0; o < l->outputs; o++) {
                int32_t total = 0;
                for (int32_t ky = 0; ky < l->kernel_y; ky++) {
                    const int32_t row = y * l->stride_y + ky - l->pad_y;
                    for (int32_t kx = 0; kx < l->kernel_x; kx++) {
                        const int32_t column = x * l->stride_x + kx - l->pad_x;
                        if (row < 0 || row >= l->height || column < 0 || column >= l->width)
                            continue;
                        const int8_t *input = inputs + (row * l->width + column) * l->channels;
                        const int8_t *weight = weights + ((o * l->kernel_y + ky) * l->kernel_x + kx) * l->channels;
                        for (int32_t c = 0; c < l->channels; c++)
                            total += weight[c] * (input[c] + input_offset);
                    }
                }
                total = scaled(total + bias[o], multiplier[o], shift[o]) + output_offset;
                total = total < -128 ? -128 : total > 127 ? 127 : total;
                outputs[(y * l->out_width + x) * l->outputs + o] = (int8_t)total;
            }
}
"""

_DENSE_MAIN = """
#include "dense.h"
#include "port.h"

int main(void)
{
    CALIBRATION
    start_ticks();
    step();
    put("sample: ");
    put_number(ticks());
    put(" ticks\\n");
    put_number((uint32_t)maps[0][0] + (uint32_t)maps[1][0]);
    return 0;
}
"""


def dense(graph: Graph) -> Mapping[str, str]:
    """Files of a program that runs the graph's layers of weights as dense int8 ones, on random numbers."""
    rng, types = np.random.default_rng(0), infer_values(graph)
    code, calls, largest = _DENSE, [], 0
    for place, node in enumerate(node for node in graph.nodes if "weight" in node.tensors):
        channels, height, width = (*types[node.inputs[0]].shape, 1, 1)[:3]
        outputs, out_height, out_width = (*types[node.name].shape, 1, 1)[:3]
        kernel = node.tensors["weight"].shape[2:] or (1, 1)
        stride, padding = node.attributes.get("stride", (1, 1)), node.attributes.get("padding", (0, 0))
        shape = (height, width, channels, out_height, out_width, outputs, *kernel, *stride, *padding)
        largest = max(largest, channels * height * width, outputs * out_height * out_width)
        weights = rng.integers(-127, 128, (outputs * math.prod(kernel) * channels)).astype(np.int8)
        code += f"static const struct layer LAYER_{place} = {{{', '.join(map(str, shape))}}};\n"
        code += table(f"int8_t WEIGHTS_{place}[{weights.size}]", weights)
        for name, kind, values in (
            ("BIAS", "int32_t", rng.integers(-1000, 1000, outputs)),
            ("MULTIPLIER", "int32_t", rng.integers(2**30, 2**31, outputs)),
            ("SHIFT", "int8_t", rng.integers(4, 9, outputs)),
        ):
            code += table(f"{kind} {name}_{place}[{outputs}]", values)
        calls.append(
            f"layer(&LAYER_{place}, WEIGHTS_{place}, BIAS_{place}, MULTIPLIER_{place}, SHIFT_{place}, "
            f"maps[{place % 2}], maps[{1 - place % 2}]);"
        )
    code += f"int8_t maps[2][{largest}];\n\nvoid step(void)\n{{\n" + "\n".join(calls) + "\n}\n"
    main = _DENSE_MAIN.replace("CALIBRATION", _CALIBRATION % LOOPS)
    header = f"#include <stdint.h>\nextern int8_t maps[2][{largest}];\nvoid step(void);\n"
    return {"dense.c": code, "dense.h": header, "main.c": main, "samples.h": ""}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--devices", default=",".join(DEVICES))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    graph = load(given.artefact)
    sets = sets_of(graph, given.artefact, given.data, given.data_root)
    x = shown(sets, given.samples)
    fixed, rounded = rounded_on_data(graph, sets)
    programs: dict[str, Mapping[str, str]] = {}
    for kind in ("float", "fixed"):
        own = fixed if kind == "fixed" else None
        source = translate(graph, "network", fixed=own)
        frames = x if own is None else own.frame(x)
        run = reference.run(graph, x, graph.time_steps) if own is None else own.run(frames, graph.time_steps)
        files = dict(firmware(source, frames.swapaxes(0, 1), run.swapaxes(0, 1)))
        files["main.c"] = timed(files["main.c"])
        programs[kind] = files
    # what builds and starts it is the network's
    programs["dense int8"] = {
        **{name: text.replace("network", "dense") for name, text in programs["float"].items() if "network" not in name},
        **dense(graph),
    }
    found: dict[str, Any] = {}
    for device in given.devices.split(","):
        if device not in installed():
            print(f"{device}: its tools are not installed", file=sys.stderr)
            continue
        found[device] = {name: instructions(files, device, graph.time_steps) for name, files in programs.items()}
    for device, rows in found.items():
        base = rows["dense int8"]["mean"]
        print(f"\n{device}: instructions a step")
        cells = [
            (
                name,
                f"{row['mean']:,.0f}",
                f"{row['longest']:,.0f}",
                f"{base / row['mean']:.2f}",
                f"{row['rom']:,}",
                f"{row['ram']:,}",
            )
            for name, row in rows.items()
        ]
        print(aligned(("", "mean", "longest", "to dense int8", "image", "state and work space"), cells))
    if given.out is not None:
        record = {"devices": found, "rounded": rounded.as_dict(), "samples": x.shape[1], "time_steps": graph.time_steps}
        write_record(given.out, record, seeds=None)
    return 0


def timed(main_c: str) -> str:
    """The firmware's program, with the calibrating loop in front and the ticks of every sample."""
    text = main_c.replace("int main(void)\n{\n", "int main(void)\n{\n" + _CALIBRATION % LOOPS)
    return text.replace(
        "        const uint32_t took = ticks();\n",
        '        const uint32_t took = ticks();\n        put("sample: ");\n        put_number(took);\n'
        '        put(" ticks\\n");\n',
    )


def instructions(files: Mapping[str, str], device: str, steps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text)
        command = ["make", "run", f"DEVICE={device}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    loop = re.search(r"loop: (\d+) ticks", printed)
    if done.returncode or loop is None:
        raise SystemExit(f"{device}: {printed[-2000:]}")
    an_instruction = int(loop[1]) / (2 * LOOPS)
    own = steps if "network.c" in files else 1
    ticks = [int(one) / an_instruction / own for one in re.findall(r"sample: (\d+) ticks", printed)]
    text, data, bss = map(int, re.findall(r"^\s*(\d+)\s+(\d+)\s+(\d+)\s+\d+\s+\w+\s+\S+\.elf$", printed, re.M)[0])
    return {"mean": float(np.mean(ticks)), "longest": max(ticks), "rom": text + data, "ram": data + bss}


if __name__ == "__main__":
    sys.exit(main())
