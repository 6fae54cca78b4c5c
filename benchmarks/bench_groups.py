"""Dilated and grouped convolutions beside plain ones, in turns.

    python benchmarks/bench_groups.py [--rounds 15] [--threads 1] [--out FILE]

Four layers, each with HD-LIF and 4-bit codes, on maps of 16x16 (3x3 kernels), and on rows of 256 pixels (1x3 kernels,
no groups); T = 4, random weights. A ratio is the median over rounds of the time beside that of the same layers with
neither.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from hdlif.artefact import INPUT, Graph, InputRecord, Node
from hdlif.artefact.neurons_of_format_4 import modern
from hdlif.ops.weights import LARGEST_WEIGHT
from hdlif.report.tables import aligned
from hdlif.runtime import Session
from recorded import write_record

LAYERS, STEPS = 4, 4
MAPS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dilation 2": {"dilation": (2, 2)},
    "4 groups": {"groups": 4},
    "32 groups": {"groups": 32},
    "depthwise": {"groups": 0},
}
ROWS: dict[str, dict[str, Any]] = {
    "plain": {},
    "dilation 2": {"dilation": (1, 2)},
    "dilation 8": {"dilation": (1, 8)},
    "dilation 32": {"dilation": (1, 32)},
}


def network(encoding: str, channels: int, shape: tuple[int, int], attributes: dict[str, Any]) -> Graph:
    """Codes through four convolutions of equal shape; `groups` of 0 are as many as channels."""
    rng = np.random.default_rng(0)
    kernel = (3, 3) if shape[0] > 1 else (1, 3)
    dilation, groups = attributes.get("dilation", (1, 1)), attributes.get("groups", 1) or channels
    one = np.full((1, 1), 0.5, np.float32)
    nodes = []

    def add(op: str, name: str, x: str, tensors: dict[str, Any], **own: Any) -> str:
        nodes.append(modern(Node(op, name, (x,), own, tensors)))
        return name

    def fire(x: str, layer: int) -> str:
        spikes = add("hd_lif", f"{layer}.neuron", x, {"leak": one, "threshold": one})
        inverse_step = np.full((1, 1), 4, np.float32)
        return add("quantise", f"{layer}.codes", spikes, {"inverse_step": inverse_step}, bits=4, offset=0.5)

    x = fire(INPUT, 0)
    most = LARGEST_WEIGHT[encoding]
    for layer in range(1, LAYERS + 1):
        weight = rng.integers(-most, most + 1, (channels, channels // groups, *kernel)).astype(np.int8)
        padding = tuple(d * (k // 2) for k, d in zip(kernel, dilation, strict=True))
        own = {k: v for k, v in {"dilation": dilation, "groups": groups}.items() if v not in ((1, 1), 1)}
        x = add(
            "conv2d",
            f"{layer}.conv",
            x,
            {"weight": weight},
            encoding=encoding,
            role="body",
            stride=(1, 1),
            padding=padding,
            **own,
        )
        size = 1 / (most * np.sqrt(channels // groups * np.prod(kernel)))
        rows = np.full((1, channels), size, np.float32)
        x = fire(add("affine", f"{layer}.norm", x, {"scale": rows, "shift": np.zeros_like(rows)}), layer)
    add("global_sum_pool", "pooled", x, {})
    record = InputRecord((channels, *shape), (0.0,) * channels, (1.0,) * channels)
    return Graph(tuple(nodes), "pooled", STEPS, record, tuple(map(str, range(channels))))


def measured(graphs: dict[str, Graph], rounds: int, threads: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of each, and the median of its ratios to "plain", round by round."""
    sessions = {name: Session(graph, threads) for name, graph in graphs.items()}
    shape = next(iter(graphs.values())).input.shape
    x = np.random.default_rng(1).normal(size=(STEPS, 1, *shape)).astype(np.float32)
    times: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(rounds + 2):
        for name, session in sessions.items():
            start = time.perf_counter()
            session.run(x)
            if turn > 1:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {
            "ms": statistics.median(of_one),
            "ratio": statistics.median(a / b for a, b in zip(of_one, times["plain"], strict=True)),
        }
        for name, of_one in times.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    found = {}
    for title, variants, shape in (("3x3 on 16x16", MAPS, (16, 16)), ("1x3 on 1x256", ROWS, (1, 256))):
        lines = [[title, "plain, ms", *list(variants)[1:]]]
        for encoding in ("ternary", "int8"):
            for channels in (64, 256):
                graphs = {name: network(encoding, channels, shape, own) for name, own in variants.items()}
                of_these = measured(graphs, given.rounds, given.threads)
                found[f"{title}, {encoding}, {channels}"] = of_these
                ratios = [f"{of_these[name]['ratio']:.2f}" for name in list(variants)[1:]]
                lines.append([f"{encoding}, {channels}", f"{of_these['plain']['ms']:.2f}", *ratios])
        print(aligned(lines[0], lines[1:]))
    if given.out:
        record = {"networks": found, "threads": given.threads, "rounds": given.rounds}
        write_record(given.out, record, seeds=[0])


if __name__ == "__main__":
    main()
