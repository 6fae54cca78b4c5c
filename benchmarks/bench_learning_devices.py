"""Instructions and memory of a network in C that goes on learning, by level, on emulated devices.

    python benchmarks/bench_learning_devices.py activity.hdlif.safetensors --out learning_devices.json

Each level's firmware learns from random sequences, an update each; what it has learned is compared with the oracle's
bytes. Instructions are counted by QEMU, calibrated by a loop of known length: the mean of the steps, and the longest
step that learns and update.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from bench_c import instructions, timed
from hdlif.deploy.c import fixed_point, translate
from hdlif.deploy.c.building import firmware
from hdlif.deploy.c.checking import learned_from
from hdlif.deploy.c.devices import installed
from hdlif.graph.artefact import load
from hdlif.graph.learning import LEVELS
from hdlif.report.tables import aligned
from hdlif.runtime import reference
from recorded import write_record

DEVICES = ("cortex-m0plus-mps2", "cortex-m4", "cortex-m55")
SAMPLES = 2
COUNTS = ("mean", "learning_step", "update")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--levels", default=",".join(("fixed", *LEVELS)), help="fixed: the classifier in fixed point")
    parser.add_argument("--devices", default=",".join(DEVICES))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    graph = load(given.artefact)
    devices = [device for device in given.devices.split(",") if device in installed()]
    x = reference.random_frames(graph, SAMPLES, steps=graph.time_steps)
    fixed, exact = fixed_point(graph, x, graph.time_steps), reference.run(graph, x, graph.time_steps)
    found: dict[str, Any] = {}
    for level in given.levels.split(","):
        form, frames, expected = None, x, exact
        if level == "fixed":
            form, frames = fixed, fixed.frame(x)
            expected = fixed.run(frames, graph.time_steps)
        source = translate(graph, "network", fixed=form, learn="classifier" if form else level)
        learning = source.learning
        assert learning is not None
        *_, learned = learned_from(source, x)
        files = dict(firmware(source, frames.swapaxes(0, 1), expected.swapaxes(0, 1), learned))
        files["main.c"] = timed(files["main.c"])
        row: dict[str, Any] = {
            "trained": sum(member.size for member in learning.members),
            "learned_bytes": learning.learned.size,
            "gradient_bytes": learning.gradients.size,
            "ram_bytes": source.ram_bytes,
            "rom_bytes": source.data_bytes,
        }
        for device in devices:
            row[device] = instructions(files, device, graph.time_steps, ["CFLAGS=-O3"])
        found[level] = row
    cells = [
        (
            level,
            f"{row['trained']:,}",
            f"{row['ram_bytes']:,}",
            device,
            *(f"{row[device][key]:,.0f}" for key in COUNTS),
        )
        for level, row in found.items()
        for device in devices
    ]
    print(aligned(("level", "trained", "RAM", "device", "step", "step that learns", "update"), cells))
    if given.out is not None:
        record = {"levels": found, "time_steps": graph.time_steps, "samples": SAMPLES}
        write_record(given.out, record, seeds="of random frames: 0")
    return 0


if __name__ == "__main__":
    sys.exit(main())
