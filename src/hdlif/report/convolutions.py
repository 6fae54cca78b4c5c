"""Compare the float32 gradients of convolutions on this machine with float64 gradients.

Run this module in a separate process, because a faulty convolution may crash the process. The following command prints
one JSON line per measurement:

    python -m hdlif.report.convolutions guarded|unguarded
"""

import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from hdlif.nn.layout import lay_out

TOLERANCE = 1e-4
"""Tolerance relative to the largest entry.

The error of a float32 sum of n products is about √n·6e-8 of this entry, here at most 1e-5.
"""
LAYOUTS = {"contiguous": torch.contiguous_format, "channels last": torch.channels_last}


class Shape(NamedTuple):
    """The shape of a convolution over images [batch, in_channels, height, width]."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    height: int
    width: int
    batch: int = 2

    def __str__(self) -> str:
        kernel, stride = ("×".join(map(str, pair)) for pair in (self.kernel, self.stride))
        return (
            f"{self.in_channels} to {self.out_channels} channels, kernel {kernel}, stride {stride}, "
            f"on {self.batch} images of {self.height}×{self.width}"
        )

    @property
    def work(self) -> int:
        """Return the approximate number of multiplications in one pass of the convolution."""
        weights = self.in_channels * self.out_channels * self.kernel[0] * self.kernel[1]
        return self.batch * self.height * self.width * weights // (self.stride[0] * self.stride[1])

    def layer(self) -> nn.Conv2d:
        """Return a layer of the given shape with random weights of standard deviation 1/√(fan-in)."""
        layer = nn.Conv2d(
            self.in_channels, self.out_channels, self.kernel, self.stride, self.padding, groups=self.groups, bias=False
        )
        nn.init.normal_(layer.weight, std=(layer.weight[0].numel()) ** -0.5)
        return layer


FAULTY = (
    Shape(4, 8, (1, 1), (2, 2), (0, 0), 1, 8, 8, 64),
    Shape(4, 8, (1, 1), (2, 2), (0, 0), 1, 64, 64, 3),
)
"""Shapes with channels last whose weight gradient oneDNN 3.12 writes beyond a buffer: on AVX2, and also on AVX-512."""


def shipped_convolutions() -> list[Shape]:
    """Return the distinct convolution shapes in the shipped networks, in increasing order of `work`."""
    # Import these here, because a process that measures other shapes does not need them.
    from hdlif.recipe import builders, load_recipe, shipped_recipes

    found = set[Shape]()
    seen = set[str]()
    for name in shipped_recipes():
        recipe = load_recipe(name)
        # Only time series must be inspected first, and their networks have no such convolutions.
        if recipe.data.kind in builders.FOUND:
            continue
        image = builders.input_record(recipe).shape
        # Neurons and weights do not affect the shapes.
        network = repr((recipe.model, recipe.attention, image))
        if network not in seen:
            seen.add(network)
            with torch.device("meta"):
                found |= convolutions_of(builders.build_model(recipe), torch.zeros(1, 1, *image))
    return sorted(found, key=lambda shape: (shape.work, shape))


def convolutions_of(network: nn.Module, x: Tensor) -> set[Shape]:
    """Return the shapes of the convolutions that a network runs on an input [1, B, C, H, W]."""
    found = set[Shape]()

    def note(layer: nn.Conv2d, args: tuple[Tensor, ...], y: Tensor) -> None:
        _, channels, height, width = args[0].shape
        assert not isinstance(layer.padding, str), "no network that ships pads by name"
        kernel, stride, padding = ((v[0], v[1]) for v in (layer.kernel_size, layer.stride, layer.padding))
        found.add(Shape(channels, layer.out_channels, kernel, stride, padding, layer.groups, height, width))

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(note)
    with torch.no_grad():
        network.eval()(x, steps=range(1))
    return found


def gradients(layer: nn.Conv2d, x: Tensor, towards: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients dL/dW and dL/dx of the loss L = Σ layer(x)·towards."""
    x = x.detach().requires_grad_()
    of_weight, of_input = torch.autograd.grad(layer(x), (layer.weight, x), towards)
    return of_weight, of_input


def error(
    shape: Shape,
    layout: torch.memory_format,
    *,
    guarded: bool = True,
    measured: Callable[[nn.Conv2d, Tensor, Tensor], tuple[Tensor, Tensor]] = gradients,
) -> float:
    """Return the error of float32 gradients in a memory layout, relative to contiguous float64 gradients.

    Errors are divided by the largest absolute entry of the float64 gradient. Weight gradients are sums of n products of
    normally distributed numbers, so their divisor is at least √n.

    Args:
        guarded: whether layers have the layout of training, in which some stay contiguous.
        measured: function that computes the float32 gradients.
    """
    weight, x, towards, *expected = _exact(shape)
    layer = shape.layer()
    layer.weight.data = weight.clone()
    if guarded:
        lay_out(layer, layout)
    else:
        layer.to(memory_format=layout)  # type: ignore[call-overload]
    seen = measured(layer, x.to(memory_format=layout), towards)
    usual = math.sqrt(towards.numel() / towards.shape[1]), 0.0
    errors = [
        (a.double() - b).abs().max().item() / (max(b.abs().max().item(), least) or 1.0)
        for a, b, least in zip(seen, expected, usual, strict=True)
    ]
    # NaN counts as an infinite error.
    return max(math.inf if math.isnan(e) else e for e in errors)


@lru_cache(maxsize=1)
def _exact(shape: Shape) -> tuple[Tensor, ...]:
    """Return random weights, images and an output gradient in float32, and the expected gradients in float64."""
    torch.manual_seed(0)
    layer = shape.layer()
    weight = layer.weight.detach().clone()
    x = torch.randn(shape.batch, shape.in_channels, shape.height, shape.width)
    with torch.no_grad():
        towards = torch.randn_like(layer.double()(x.double())).float()
    return weight, x, towards, *gradients(layer, x.double(), towards.double())


def hardware() -> dict[str, Any]:
    """Return the instruction set, the number of threads and the GPUs that PyTorch uses."""
    return {
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def measure() -> Iterator[dict[str, Any]]:
    """Measure the gradient error of every convolution shape in both memory layouts used in training."""
    shapes = [*FAULTY, *shipped_convolutions()]
    yield {"shapes": len(shapes), **hardware()}
    for shape in shapes:
        for name in LAYOUTS:
            yield {"shape": str(shape), "layout": name, "error": error(shape, LAYOUTS[name])}


def measure_unguarded() -> Iterator[dict[str, Any]]:
    """Measure the gradient error of shapes that oneDNN may compute incorrectly in the channels-last layout."""
    # With one thread oneDNN also writes beyond its buffer, but its result is often right.
    torch.set_num_threads(2)
    yield {"shapes": len(FAULTY)}
    for shape in FAULTY:
        yield {"shape": str(shape), "error": error(shape, torch.channels_last, guarded=False)}


MEASURES: Mapping[str, Callable[[], Iterator[dict[str, Any]]]] = {"guarded": measure, "unguarded": measure_unguarded}

if __name__ == "__main__":
    for found in MEASURES[sys.argv[1]]():
        print(json.dumps(found), flush=True)
