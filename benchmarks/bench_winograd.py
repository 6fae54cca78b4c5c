"""Convolutions of 3x3 in float32 by Winograd's F(4x4, 3x3) beside PyTorch's: milliseconds and roundings.

    OMP_NUM_THREADS=1 python benchmarks/bench_winograd.py [--layers 64,32;128,16;256,8;512,4] [--batch-sizes 16,64]
                      [--rounds 15] [--instruction-set avx2] [--out FILE.json]

Layers are (channels, side) without a change of size. Timed apart: the forward pass, the gradient of the input and that
of the weights, of random numbers, with channels last; what turns the weights into Winograd's numbers is in the first
two. PyTorch's is the faster of its two layouts, each pass by itself. CPU milliseconds of all threads; rounds alternate
between all of them; median and quartiles over rounds, and how many times as fast Winograd's were in the same round.
"Off" is the largest difference to the pass in float64, as a share of its largest entry, and PyTorch's beside it.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from hdlif import _native
from hdlif.measure.allocator import keep_freed_memory
from hdlif.report.tables import aligned
from recorded import write_record

PARTS = ("forward", "input", "weights")
LAYOUTS = (torch.contiguous_format, torch.channels_last)


def pytorch(part: str, x: Tensor, weight: Tensor, dy: Tensor) -> Tensor:
    if part == "forward":
        return F.conv2d(x, weight, padding=1)
    which = [part == "input", part == "weights", False]
    found = torch.ops.aten.convolution_backward(dy, x, weight, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 1, which)
    gradient: Tensor = found[PARTS.index(part) - 1]
    return gradient


class Layer:
    """What is timed of one layer."""

    def __init__(self, channels: int, side: int, batch: int, instructions: str) -> None:
        generator = torch.Generator().manual_seed(0)
        x, dy = (torch.randn(batch, channels, side, side, generator=generator) for _ in range(2))
        self.weight = torch.randn(channels, channels, 3, 3, generator=generator) / (3 * channels**0.5)
        self.layouts = [[one.contiguous(memory_format=layout) for one in (x, dy)] for layout in LAYOUTS]
        self.instructions = instructions

    def winograd(self, part: str) -> Tensor:
        x, dy = self.layouts[-1]
        count, channels, *size = x.shape
        shape, more = (channels, channels), (torch.get_num_threads(), self.instructions)
        if part == "weights":
            found = torch.empty_like(self.weight)
            given = x.data_ptr(), dy.data_ptr(), count, (size[0], size[1]), shape, found.data_ptr()
            _native.winograd_kernel_gradient(*given, *more)
            return found
        is_back, found = part == "input", torch.empty_like(x)
        read = dy if is_back else x
        kernels = self.weight.data_ptr(), shape, is_back
        _native.winograd_convolve(*kernels, read.data_ptr(), count, (size[0], size[1]), found.data_ptr(), *more)
        return found

    def off(self, part: str) -> list[float]:
        """Winograd's and PyTorch's."""
        x, dy = self.layouts[0]
        expected = pytorch(part, x.double(), self.weight.double(), dy.double())
        found = self.winograd(part), pytorch(part, x, self.weight, dy)
        return [float((one - expected).abs().max() / expected.abs().max()) for one in found]


def milliseconds(run: Callable[[], Any]) -> float:
    run()
    start = time.process_time()
    run()
    return 1e3 * (time.process_time() - start)


def measure(layer: Layer, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    taken: dict[str, list[tuple[float, float]]] = {part: [] for part in PARTS}
    for _ in range(rounds):
        for part in PARTS:
            ours = milliseconds(lambda part=part: layer.winograd(part))  # type: ignore[misc]
            theirs = [
                milliseconds(lambda part=part, x=x, dy=dy: pytorch(part, x, layer.weight, dy))  # type: ignore[misc]
                for x, dy in layer.layouts
            ]
            taken[part].append((ours, min(theirs)))
    for part in PARTS:
        ours, ratios = [a for a, _ in taken[part]], [b / a for a, b in taken[part]]
        found[part] = {
            "ms": statistics.quantiles(ours, n=4),
            "times as fast": statistics.quantiles(ratios, n=4),
            "off": layer.off(part),
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", default="64,32;128,16;256,8;512,4")
    parser.add_argument("--batch-sizes", default="16,64")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--instruction-set", default="", choices=("", *_native.instruction_sets()))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    keep_freed_memory()
    rows, lines = [], []
    for layer in arguments.layers.split(";"):
        channels, side = map(int, layer.split(","))
        for batch in map(int, arguments.batch_sizes.split(",")):
            found = measure(Layer(channels, side, batch, arguments.instruction_set), arguments.rounds)
            rows.append({"channels": channels, "side": side, "batch": batch, **found})
            cells = []
            for part in PARTS:
                (_, middle, _), (low, times, high) = found[part]["ms"], found[part]["times as fast"]
                mine, its = found[part]["off"]
                cells += [f"{middle:.2f}, {times:.2f} [{low:.2f}, {high:.2f}]", f"{mine:.1e}, {its:.1e}"]
            lines.append([f"{channels} channels, {side}x{side}", str(batch), *cells])
    head = ["layer", "batch", *(word for part in PARTS for word in (f"{part}, ms", "off"))]
    print(aligned(head, lines))
    record = {**vars(arguments), "out": None, "rows": rows, "threads": torch.get_num_threads()}
    if arguments.out:
        write_record(arguments.out, record, seeds=[0])


if __name__ == "__main__":
    main()
