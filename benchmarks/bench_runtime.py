"""The compiled runtime beside general engines, on one artefact and on its ordinary twin; and its instruction sets.

    python benchmarks/bench_runtime.py ARTEFACT [--twin ARTEFACT] [--confidence P] [--data NAME] [--data-root DIR]
        [--against NAMES] [--threads N] [--batch N] [--repeats N] [--out FILE]

The engines are those of `hdlif bench`, which refuses to time what does not agree. The instruction sets are timed in
turns too, and have to give the same bits. The tables are printed, and written as JSON with --out. Engines cannot be
compared as on a processor without AVX-512: OpenVINO 2026.4 crashes on INT8 under ONEDNN_MAX_CPU_ISA=AVX2, and ONNX
Runtime has no such switch.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

import numpy as np

from hdlif._native import instruction_sets
from hdlif.cli.bench import bench, engines_table
from hdlif.graph.artefact import load
from hdlif.report.engine_times import images_of, in_turns, spread
from hdlif.report.engines import Floats
from hdlif.report.tables import aligned
from hdlif.runtime import Session
from recorded import write_record

IMAGES = 16


def instruction_times(artefact: Path, images: Floats, threads: int, repeats: int) -> dict[str, dict[str, float]]:
    """Milliseconds of one image by instruction set, all in turns: {"median", "min", "max", "ratio"} to the best one."""
    sessions = {name: Session(artefact, threads, instructions=name) for name in instruction_sets()}
    best = instruction_sets()[-1]
    expected = sessions[best].run(images[None])
    for name, session in sessions.items():
        np.testing.assert_array_equal(session.run(images[None]), expected, err_msg=name)
    runs = {name: (lambda x, s=session: s.run(x[None])) for name, session in sessions.items()}
    rounds = in_turns(runs, np.split(images, len(images)), repeats, 3)
    return {
        name: {
            **spread([1e3 * seconds for taken in rounds for seconds in taken[name]]),
            "ratio": statistics.median(
                statistics.median(taken[name]) / statistics.median(taken[best]) for taken in rounds
            ),
        }
        for name in sessions
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artefact", type=Path)
    parser.add_argument("--twin", type=Path)
    parser.add_argument("--confidence", type=float)
    parser.add_argument("--against")
    parser.add_argument("--data")
    parser.add_argument("--data-root", type=Path)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--out", type=Path)
    arguments = vars(parser.parse_args())
    out = arguments.pop("out")
    result = bench(**arguments, say=lambda line: print(line, file=sys.stderr, flush=True))
    images = images_of(
        load(arguments["artefact"]).input, arguments["data"], arguments["data_root"], compared=IMAGES
    ).compared
    result["instruction_sets"] = instruction_times(
        arguments["artefact"], images, result["threads"], arguments["repeats"]
    )
    print(engines_table(result))
    rows = [
        [name, *(f"{times[key]:.2f}" for key in ("median", "min", "max", "ratio"))]
        for name, times in result["instruction_sets"].items()
    ]
    print("\n" + aligned(["instructions", "ms", "min", "max", "ratio"], rows))
    if "HDLIF_INSTRUCTIONS" in os.environ:
        result["instruction_set"] = result["instructions"]
    if out:
        write_record(out, {"artefact": arguments["artefact"].name, **result}, seeds=None)


if __name__ == "__main__":
    main()
