"""Convolutions of codes by ternary weights beside PyTorch's in float32, by the share of codes that are not 0.

    OMP_NUM_THREADS=1 python benchmarks/bench_code_conv.py [--shares 0.1,0.2,0.3,0.4] [--batch-size 16] [--rounds 15]
                      [--instruction-set avx2] [--out FILE.json]

The 3x3 layers of a ResNet-18 on 32x32 images, without a change of size: (channels, side) of (64, 32), (128, 16),
(256, 8), (512, 4). Codes of 4 bits are drawn so that about the share is not 0; the input's gradient is asked for where
they are not. Timed apart: the forward pass, the gradient of the weights, that of the input, and packing of the weights,
which is done once an update. PyTorch's is the faster of its two layouts (contiguous and channels last), each pass by
itself. CPU milliseconds of all threads; rounds alternate between all of them; median and quartiles over rounds, and how
many times as fast the kernels were in the same round.

Nothing is timed where sums are not PyTorch's bit for bit, or a gradient is off by more than 1e-4 of its largest entry.
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

from hdlif._native import instruction_sets
from hdlif.functional import ternarize_weight
from hdlif.kernels.code_conv import CodeConv, codes_of, quantised
from hdlif.kernels.code_conv.conv import Packed
from hdlif.measure.code_convs import TOLERANCE
from hdlif.report.tables import aligned
from recorded import write_record

LAYERS = ((64, 32), (128, 16), (256, 8), (512, 4))
PARTS = ("forward", "weights", "input")
LAYOUTS = (torch.contiguous_format, torch.channels_last)


class Layer:
    """What is timed of one layer at one share."""

    def __init__(self, channels: int, side: int, share: float, batch: int, instructions: str) -> None:
        generator = torch.Generator().manual_seed(0)
        shape = (1, batch, channels, side, side)
        surplus = torch.rand(shape, generator=generator) * 3 + 0.125
        spikes = quantised(
            (surplus * (torch.rand(shape, generator=generator) < share)).requires_grad_(),
            bits=4,
            step=0.25,
            offset=0.5,
            is_relu=True,
        )
        codes = codes_of(spikes)
        assert codes is not None
        assert codes.live is not None
        self.codes, self.x = codes, spikes.detach().flatten(0, 1)
        self.weight = ternarize_weight(torch.randn(channels, channels, 3, 3, generator=generator))
        self.dy = torch.randn(self.x.shape, generator=generator).contiguous(memory_format=torch.channels_last)
        self.conv = CodeConv((1, 1), (1, 1), instructions)
        self.pack()
        self.y, self.dx = (torch.empty_like(self.dy) for _ in range(2))
        self.dw = torch.empty_like(self.weight)
        self.plain = [
            tuple(one.contiguous(memory_format=layout) for one in (self.x, self.weight, self.dy)) for layout in LAYOUTS
        ]

    @property
    def share(self) -> float:
        return int(self.codes.codes.count_nonzero()) / self.x.numel()

    def pack(self) -> None:
        side = self.x.shape[2:]
        self.packed = Packed(self.weight, (side[0], side[1]), self.codes.most, self.conv)
        self.scale = self.packed.scale * self.codes.step

    def forward(self) -> None:
        threads, codes = torch.get_num_threads(), self.codes.codes
        self.packed.compiled.forward(
            codes.data_ptr(),
            len(self.x),
            self.scale.data_ptr(),
            self.y.data_ptr(),
            group=1,
            totals=0,
            squares=0,
            threads=threads,
        )

    def backward(self, *, weights: bool, inputs: bool) -> None:
        assert self.codes.live is not None
        self.packed.compiled.backward(
            self.dy.data_ptr(),
            len(self.x),
            codes=self.codes.codes.data_ptr(),
            step=self.codes.step,
            weight_gradient=self.dw.data_ptr() if weights else 0,
            live=self.codes.live.data_ptr(),
            scale=self.packed.scale.data_ptr(),
            input_gradient=self.dx.data_ptr() if inputs else 0,
            threads=torch.get_num_threads(),
        )

    def kernels(self) -> dict[str, Callable[[], Any]]:
        return {
            "forward": self.forward,
            "weights": lambda: self.backward(weights=True, inputs=False),
            "input": lambda: self.backward(weights=False, inputs=True),
            "pack": self.pack,
        }

    def pytorch(self, layout: int) -> dict[str, Callable[[], Any]]:
        x, weight, dy = self.plain[layout]
        backward = torch.ops.aten.convolution_backward
        how = (None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)
        return {
            "forward": lambda: F.conv2d(x, weight, padding=1),
            "weights": lambda: backward(dy, x, weight, *how, [False, True, False])[1],
            "input": lambda: backward(dy, x, weight, *how, [True, False, False])[0],
        }

    def check(self) -> None:
        """Raise `SystemExit` where the kernels compute something else."""
        self.forward()
        self.backward(weights=True, inputs=True)
        sums = F.conv2d(self.x * 4, self.weight.sign(), padding=1)
        wide: list[Tensor] = [one.double() for one in (self.dy, self.x, self.weight)]
        dx, dw, _ = torch.ops.aten.convolution_backward(
            *wide, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, True, False]
        )
        assert self.codes.live is not None
        dx = dx * self.codes.live.permute(0, 3, 1, 2)
        off = max(float((a - b).abs().max() / b.abs().max()) for a, b in ((self.dx, dx), (self.dw, dw)))
        right = sums * (self.packed.scale * self.codes.step)[:, None, None]
        if not torch.equal(self.y, right) or not off < TOLERANCE:
            raise SystemExit(f"{tuple(self.x.shape)}: the kernels give something else; nothing is timed")


def milliseconds(run: Callable[[], Any]) -> float:
    begun = time.process_time()
    run()
    return 1e3 * (time.process_time() - begun)


def spread(values: list[float]) -> dict[str, float]:
    low, median, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {"median": median, "low": low, "high": high}


def measure(layer: Layer, rounds: int) -> dict[str, Any]:
    """Of each part the kernels' milliseconds, PyTorch's, and the ratio of a round."""
    ours, theirs = layer.kernels(), [layer.pytorch(layout) for layout in range(len(LAYOUTS))]
    times: dict[str, list[list[float]]] = {part: [] for part in ours}
    for run in range(rounds + 1):
        for part in ours:
            row = [milliseconds(ours[part])]
            if part in PARTS:
                row += [milliseconds(one[part]) for one in theirs]
            if run:
                times[part].append(row)
    found: dict[str, Any] = {}
    for part, rows in times.items():
        found[part] = {"kernels_ms": spread([row[0] for row in rows])}
        if part in PARTS:
            # The layout that is the faster one in the median.
            best = min(range(1, 1 + len(LAYOUTS)), key=lambda i: statistics.median(row[i] for row in rows))
            found[part]["pytorch_ms"] = spread([row[best] for row in rows])
            found[part]["layout"] = str(LAYOUTS[best - 1]).removeprefix("torch.")
            found[part]["ratio"] = spread([row[best] / row[0] for row in rows])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shares", default="0.1,0.2,0.3,0.4")
    parser.add_argument("--layers", default=",".join(f"{channels}x{side}" for channels, side in LAYERS))
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--instruction-set", default="", choices=["", *instruction_sets()])
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results, rows = [], []
    for name in given.layers.split(","):
        channels, side = map(int, name.split("x"))
        for share in map(float, given.shares.split(",")):
            layer = Layer(channels, side, share, given.batch_size, given.instruction_set)
            layer.check()
            found = measure(layer, given.rounds)
            results.append({"channels": channels, "side": side, "share": layer.share, **found})
            cells = [
                f"{found[part]['kernels_ms']['median']:.2f}, {found[part]['ratio']['median']:.1f} "
                f"[{found[part]['ratio']['low']:.1f}, {found[part]['ratio']['high']:.1f}]"
                for part in PARTS
            ]
            rows.append(
                [
                    f"{channels} channels, {side}x{side}",
                    f"{layer.share:.0%}",
                    *cells,
                    f"{found['pack']['kernels_ms']['median']:.2f}",
                ]
            )
    print(aligned(["layer", "not 0", "forward, ms, ratio", "weights", "input", "packing, ms"], rows))
    if given.out is not None:
        how = {"batch_size": given.batch_size, "rounds": given.rounds, "threads": torch.get_num_threads()}
        sets = given.instruction_set or instruction_sets()[-1]
        write_record(given.out, {"results": results, **how, "instruction_set": sets}, seeds=[0])


if __name__ == "__main__":
    main()
