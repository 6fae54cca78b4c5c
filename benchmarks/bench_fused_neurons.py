r"""A chunk of neurons in one function beside its steps under autograd: seconds and bytes of forward and backward.

    MALLOC_MMAP_THRESHOLD_=1073741824 MALLOC_TRIM_THRESHOLD_=4294967296 OMP_NUM_THREADS=1 \
        python benchmarks/bench_fused_neurons.py [--shapes 8,64,32,8,8;1,64,32,8,8] [--rounds N] [--out FILE]

One layer fed with random currents [K, B, C, H, W], parameters learned as the neuron says; "path" of `hdlif.nn`. Of each
path: bytes that autograd holds between forward and backward, the layer's parameters apart; and CPU seconds of both
passes over those of "steps", the median over rounds that take the paths in turns, and quartiles. Then the same of STBP
updates of `digits_hdlif` with other neurons, batches of 32: bytes at any one time, of the whole network. First the
gradients of both are compared, in float64, and a difference above 1e-10 ends the run. The variables keep glibc
from giving memory back to the system in each round, whose return costs either path up to as much as all it computes.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench_one_bit import Case as NetworkCase
from hdlif.accounting import chunk_bytes, saved_bytes
from hdlif.config import load_recipe
from hdlif.nn import GLIF, HDLIF, LIF, AdaptiveHDLIF, SecondOrderHDLIF, SteppedNeuron
from hdlif.report.tables import aligned
from recorded import write_record

Make = Callable[..., SteppedNeuron]
NEURONS: dict[str, Make] = {
    "lif": LIF,
    "lif, learned": partial(LIF, learned=True),
    "glif": GLIF,
    "hdlif": HDLIF,
    "hdlif, fixed": partial(HDLIF, learned=False),
    "adaptive_hdlif": AdaptiveHDLIF,
    "second_order_hdlif": SecondOrderHDLIF,
}
PATHS = ("steps", "fused")


class Case:
    """A layer with one path, and its current and the gradient of its spikes."""

    def __init__(self, make: Make, path: str, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        self.neuron = make(time_steps=shape[0], path=path).to(dtype)
        self.x, self.towards = torch.randn(shape, dtype=dtype).requires_grad_(), torch.randn(shape, dtype=dtype)

    def forward(self) -> Tensor:
        y: Tensor = self.neuron(self.x, None, range(len(self.x)))[0]
        return y

    def gradients(self) -> tuple[Tensor, ...]:
        return torch.autograd.grad(self.forward(), [self.x, *self.neuron.parameters()], self.towards)

    def seconds(self) -> tuple[float, float]:
        """CPU seconds of forward and of backward, which other work on the machine disturbs less than the clock."""
        self.x.grad = None
        self.neuron.zero_grad()
        start = time.process_time()
        y = self.forward()
        between = time.process_time()
        y.backward(self.towards)
        return between - start, time.process_time() - between


def check(name: str) -> None:
    steps, fused = (Case(NEURONS[name], path, (5, 3, 4, 5, 5), torch.float64).gradients() for path in PATHS)
    off = max(float((a - b).abs().max()) for a, b in zip(steps, fused, strict=True))
    if off > 1e-10:
        sys.exit(f"{name}: gradients of steps and of fused differ by {off:.1e}")


def measure(name: str, shape: tuple[int, ...], rounds: int) -> dict[str, Any]:
    cases = {path: Case(NEURONS[name], path, shape) for path in PATHS}
    taken: dict[str, list[tuple[float, float]]] = {path: [] for path in PATHS}
    for turn in range(rounds + 2):
        for path, case in cases.items():
            seconds = case.seconds()
            if turn > 1:
                taken[path].append(seconds)
    number = torch.Size(shape).numel()
    ratios = [sum(mine) / sum(its) for mine, its in zip(taken["fused"], taken["steps"], strict=True)]
    return {
        "neuron": name,
        "shape": shape,
        "bytes": {path: saved_bytes(case.forward, model=case.neuron) / number for path, case in cases.items()},
        "stated_bytes": chunk_bytes(cases["fused"].neuron, shape[1:], steps=shape[0]) / number,
        "forward_ms": {path: 1e3 * statistics.median(f for f, _ in taken[path]) for path in PATHS},
        "backward_ms": {path: 1e3 * statistics.median(b for _, b in taken[path]) for path in PATHS},
        "time": statistics.quantiles(ratios, n=4),
    }


def network(kind: str, time_steps: int, rounds: int) -> dict[str, Any]:
    """An STBP update of a whole network."""
    words = ["rule={kind: stbp}", f"time_steps={time_steps}"]
    cases = {
        path: NetworkCase(load_recipe("digits_hdlif", [*words, f"neuron={{kind: {kind}, path: {path}}}"]), 32)
        for path in PATHS
    }
    taken: dict[str, list[float]] = {path: [] for path in PATHS}
    for turn in range(rounds + 2):
        for path, case in cases.items():
            seconds = case.seconds()
            if turn > 1:
                taken[path].append(seconds)
    ratios = [mine / its for mine, its in zip(taken["fused"], taken["steps"], strict=True)]
    return {
        "neuron": kind,
        "time_steps": time_steps,
        "bytes": {path: case.saved() for path, case in cases.items()},
        "time": statistics.quantiles(ratios, n=4),
    }


def network_row(found: dict[str, Any]) -> list[str]:
    steps, fused = (found["bytes"][path] for path in PATHS)
    low, middle, high = found["time"]
    megabytes = [f"{steps / 1e6:.2f}", f"{fused / 1e6:.2f} ({fused / steps:.1%})"]
    return [found["neuron"], str(found["time_steps"]), *megabytes, f"{middle:.2f} [{low:.2f}, {high:.2f}]"]


def row(found: dict[str, Any]) -> list[str]:
    low, middle, high = found["time"]
    return [
        found["neuron"],
        ",".join(map(str, found["shape"])),
        *(f"{found['bytes'][path]:.3f}" for path in PATHS),
        f"{sum(found[key]['steps'] for key in ('forward_ms', 'backward_ms')):.2f}",
        f"{middle:.2f} [{low:.2f}, {high:.2f}]",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="8,64,32,8,8;1,64,32,8,8;8,16,16,8,8;1,16,16,8,8")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    shapes = [tuple(map(int, shape.split(","))) for shape in arguments.shapes.split(";")]
    for name in NEURONS:
        check(name)
    found = [measure(name, shape, arguments.rounds) for shape in shapes for name in NEURONS]
    header = ["neuron", "current", "bytes: steps", "fused", "ms: steps", "CPU time over steps"]
    print(aligned(header, [row(one) for one in found]))
    kinds = ("glif", "second_order_hdlif", "adaptive_hdlif", "hdlif")
    networks = [network(kind, steps, arguments.rounds) for kind in kinds for steps in (4, 16)]
    header = ["network of", "T", "MB: steps", "fused", "CPU time over steps"]
    print(aligned(header, [network_row(one) for one in networks]))
    record = {
        **vars(arguments),
        "out": None,
        "threads": torch.get_num_threads(),
        "rows": found,
        "networks": networks,
    }
    if arguments.out:
        write_record(arguments.out, record, seeds=[0])


if __name__ == "__main__":
    main()
