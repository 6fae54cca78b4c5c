"""What an answer of a network costs a microcontroller: in C as `hdlif export --to c` writes it, and in CMSIS-NN.

    python benchmarks/bench_c.py NETWORK --data NAME|PATH [--data-root DIR] [--samples 8] [--devices cortex-m4,...]
                                 [--cmsis-nn DIR] [--out FILE.json]

Instructions that QEMU counts (`-icount shift=0`: one is one nanosecond of the emulated clock, read from the processor's
own counter of ticks, which a loop of known length calibrates in the same run), of a step and of an answer, which takes
all steps: the mean and the longest over samples for testing. On a chip a step takes as many cycles or more: these are
no times.

float, fixed: the network as it is written, step by step; "one call": by its function of all time steps. Both are built
    with -O3.
CMSIS-NN int8 (with --cmsis-nn): the same convolutions, linear layers and pools as an ordinary network, by Arm's library
    (cmsis_nn.py). An answer is one pass. Nothing else of the network is in it: no neurons, no sums of shortcuts.

Needs make, gcc-arm-none-eabi and qemu-system-arm.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import cmsis_nn
from hdlif.deploy.c import translate
from hdlif.deploy.c.building import FILES, firmware, part_of_firmware
from hdlif.deploy.c.devices import installed
from hdlif.graph.artefact import Graph, load
from hdlif.recipe.runs.tested_data import sets_for
from hdlif.report.fixed_point import rounded_on_data, shown
from hdlif.report.tables import aligned
from hdlif.runtime import reference
from hdlif.zoo import network_file
from recorded import write_record

DEVICES = ("cortex-m0plus-mps2", "cortex-m4", "cortex-m55")
LOOPS = 1_000_000
"""Of two instructions each, by which ticks are calibrated."""

CMSIS_NN = "CMSIS-NN int8"
OPTIMISED = "CFLAGS=-O3"

_CALIBRATION = """
    uint32_t left = %d;
    start_ticks();
    __asm volatile(".syntax unified\\n1: subs %%0, %%0, #1\\n\\tbne 1b" : "+l"(left) : : "cc");
    put("loop: ");
    put_number(ticks());
    put(" ticks\\n");
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="a model file, or the name of a network that ships")
    parser.add_argument("--data", required=True)
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--devices", default=",".join(DEVICES))
    parser.add_argument("--cmsis-nn", type=Path, metavar="DIR", help=f"checkout of {cmsis_nn.ADDRESS} to compare with")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    path = network_file(given.network)
    graph = load(path)
    sets = sets_for(graph, given.data, given.data_root, path)
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
    if given.cmsis_nn is not None:
        programs[CMSIS_NN] = peer(graph)
    found: dict[str, Any] = {}
    for device in given.devices.split(","):
        if device not in installed():
            print(f"{device}: its tools are not installed", file=sys.stderr)
            continue
        found[device] = {}
        for name, files in programs.items():
            is_peer = name == CMSIS_NN
            variables = cmsis_nn.make_variables(given.cmsis_nn, device) if is_peer else [OPTIMISED]
            steps = 1 if is_peer else graph.time_steps
            row = instructions(files, device, steps, variables)
            found[device][name] = row | {"answer": row["mean"] * steps}
            if "network_answer(" in files["network.h"]:
                whole = instructions(files, device, 1, [f"{OPTIMISED} -DBY_ANSWER"])
                found[device][f"{name}, one call"] = whole | {"answer": whole.pop("mean")}
    for device, rows in found.items():
        base = rows.get(CMSIS_NN, {}).get("answer")
        print(f"\n{device}: instructions")
        cells = [
            (
                name,
                f"{row['mean']:,.0f}" if name in ("float", "fixed") else "",
                f"{row['answer']:,.0f}",
                "" if base is None else f"{row['answer'] / base:.2f}",
                f"{row['rom']:,}",
                f"{row['ram']:,}",
            )
            for name, row in rows.items()
        ]
        print(aligned(("", "a step", "an answer", f"to {CMSIS_NN}", "image", "RAM without stack"), cells))
    if given.out is not None:
        record = {
            "devices": found,
            "cmsis_nn": cmsis_nn.commit(given.cmsis_nn),
            "rounded": rounded.as_dict(),
            "samples": x.shape[1],
            "time_steps": graph.time_steps,
        }
        write_record(given.out, record, seeds=f"of CMSIS-NN's weights: {cmsis_nn.SEED}")
    return 0


def peer(graph: Graph) -> Mapping[str, str]:
    """The files of the program in CMSIS-NN, with those that build and start one of ours."""
    around = {name: part_of_firmware(name, "network") for name in FILES}
    return {**around, **cmsis_nn.program(graph, _CALIBRATION % LOOPS)}


def timed(main_c: str) -> str:
    """The firmware's program, with the calibrating loop in front and the ticks of every sample."""
    text = main_c.replace("int main(void)\n{\n", "int main(void)\n{\n" + _CALIBRATION % LOOPS)
    return text.replace(
        "        const uint32_t took = ticks();\n",
        '        const uint32_t took = ticks();\n        put("sample: ");\n        put_number(took);\n'
        '        put(" ticks\\n");\n',
    )


def instructions(files: Mapping[str, str], device: str, steps: int, variables: Sequence[str] = ()) -> dict[str, float]:
    """Instructions of a step, and bytes, of a program whose samples have so many steps.

    Args:
        variables: more arguments of make.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, text in files.items():
            Path(folder, name).write_text(text)
        command = ["make", "run", f"DEVICE={device}", *variables]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    printed = done.stdout + done.stderr
    loop = re.search(r"loop: (\d+) ticks", printed)
    if done.returncode or loop is None:
        raise SystemExit(f"{device}: {printed[-2000:]}")
    an_instruction = int(loop[1]) / (2 * LOOPS)
    ticks = [int(one) / an_instruction / steps for one in re.findall(r"^sample: (\d+) ticks", printed, re.M)]
    text, data, bss = map(int, re.findall(r"^\s*(\d+)\s+(\d+)\s+(\d+)\s+\d+\s+\w+\s+\S+\.elf$", printed, re.M)[0])
    found = {"mean": float(np.mean(ticks)), "longest": max(ticks), "rom": text + data, "ram": data + bss}
    if learned := re.search(r"learned: longest step: (\d+) ticks; longest update: (\d+) ticks", printed):
        found |= {key: int(learned[1 + k]) / an_instruction for k, key in enumerate(("learning_step", "update"))}
    return found


if __name__ == "__main__":
    sys.exit(main())
