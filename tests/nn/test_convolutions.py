"""Convolutions in channels last have their gradients, and those of one pixel run as products.

What oneDNN gets wrong in channels last, strided 1x1 convolutions of few channels, stays contiguous.
"""

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every, seed
from hdlif.learning.traced_pass import TraceRule
from hdlif.learning.traces import Traces
from hdlif.nn import QuantConv2d, Sequential, Ternary
from hdlif.nn.layout import is_product, lay_out, must_stay_contiguous, runs_as_product
from hdlif.nn.steps import carrying
from hdlif.report.convolutions import FAULTY, TOLERANCE, Shape

# The fault writes beyond a buffer, so that measurements have a process of their own.
MEASURE = """
import json, sys, torch
from hdlif.report.convolutions import Shape, error
torch.set_num_threads(2)
for line in sys.stdin:
    values = [tuple(v) if isinstance(v, list) else v for v in json.loads(line)]
    print(error(Shape(*values), torch.channels_last), flush=True)
"""
# oneDNN's own switch, and PyTorch's.
AVX2 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}


def narrow_strided() -> Iterable[Shape]:
    # The larger images make AVX-512 go through them in parts, the others AVX2.
    for channels in (1, 4, 7, 15, 16):
        for size, batch in ((8, 64), (64, 3)):
            yield Shape(channels, 8, (1, 1), (2, 2), (0, 0), 1, size, size, batch)
    # One weight, whose gradient is a sum of 2,080 products, and 0.11: that sum cancels, which is no error.
    yield Shape(1, 1, (1, 1), (3, 1), (0, 0), 1, 38, 20, 8)


def at_random() -> Iterable[Shape]:
    rng = random.Random(seed())
    for _ in range(100):
        groups, kernel = rng.choice([1, 1, 1, 2, 3]), rng.choice([(1, 1), (1, 1), (2, 2), (3, 3), (1, 3)])
        yield Shape(
            groups * rng.randint(1, 20),
            groups * rng.randint(1, 20),
            kernel,
            (rng.randint(1, 3), rng.randint(1, 3)),
            (rng.randrange(kernel[0]), rng.randrange(kernel[1])),
            groups,
            rng.randint(3, 40),
            rng.randint(3, 40),
            rng.randint(1, 8),
        )


@pytest.mark.slow
@pytest.mark.parametrize("switches", [{}, AVX2], ids=["as it is", "AVX2"])
def test_convolutions_have_their_gradients(switches: dict[str, str]) -> None:
    """Narrow strided ones, and others at random; `hdlif doctor`, which has a test, measures every one that ships."""
    asked = [*narrow_strided(), *FAULTY, *at_random()]
    ended = subprocess.run(
        [sys.executable, "-c", MEASURE],
        env={**os.environ, **switches},
        input="\n".join(map(json.dumps, asked)),
        capture_output=True,
        text=True,
        check=False,
    )
    errors = list(map(float, ended.stdout.split()))
    assert len(errors) == len(asked) > 100, f"{asked[len(errors)]}: the process ended with {ended.returncode}"
    assert {str(shape): error for shape, error in zip(asked, errors, strict=True) if not error < TOLERANCE} == {}


def is_contiguous(x: Tensor) -> bool:
    """By its strides: a 1×1 kernel is both to `Tensor.is_contiguous`."""
    return x.stride() == torch.empty(x.shape).stride()


@every(leak=[None, 0.5])
def test_such_a_layer_sees_contiguous_tensors_alone(monkeypatch: pytest.MonkeyPatch, leak: float | None) -> None:
    """In a training step as in one with traces, which goes past the layer's hooks."""
    torch.manual_seed(0)
    stem, shortcut = nn.Conv2d(3, 4, 3, padding=1, bias=False), QuantConv2d(4, 8, 1, stride=2, quantizer=Ternary())
    model, seen = Sequential(stem, shortcut), []
    lay_out(model, torch.channels_last)
    lay_out(model, torch.channels_last)
    assert len(shortcut._forward_pre_hooks) == 1
    assert not is_contiguous(stem.weight)
    assert is_contiguous(shortcut.weight)
    convolve = nn.functional.conv2d

    def watched(x: Tensor, weight: Tensor, *args: object) -> Tensor:
        seen.append((is_contiguous(x), is_contiguous(weight)))
        return convolve(x, weight, *args)

    with monkeypatch.context() as patch:
        patch.setattr("torch.nn.functional.conv2d", watched)
        x = torch.randn(2, 5, 3, 8, 8)
        x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(x.shape)
        traces = Traces({} if leak is None else {"1": shortcut}, TraceRule(leak or 0.0))
        y, _ = model(x, None, carrying(range(2), observers=[traces]))
        y.sum().backward()
    assert seen[-1] == (True, True)
    assert is_contiguous(shortcut.weight.grad)


def test_what_must_stay_contiguous() -> None:
    def conv(channels: int = 4, kernel: int = 1, stride: int | tuple[int, int] = 2, groups: int = 1) -> nn.Module:
        return nn.Conv2d(channels, 8, kernel, stride=stride, groups=groups)

    assert all(must_stay_contiguous(conv(channels)) for channels in range(1, 16))
    assert must_stay_contiguous(conv(stride=(1, 2)))
    others = [conv(16), conv(kernel=2), conv(stride=1), conv(groups=2), nn.Conv1d(4, 8, 1, stride=2), nn.Linear(4, 8)]
    assert not any(map(must_stay_contiguous, others))


T, B, C, D = 3, 4, 5, 6
EXACT = {"atol": 1e-12, "rtol": 0.0}


def layers() -> list[nn.Conv2d]:
    torch.manual_seed(0)
    quantised = QuantConv2d(C, D, 1, bias=True, quantizer=Ternary())
    return [nn.Conv2d(C, D, 1), nn.Conv2d(C, D, 1, stride=2, bias=False), quantised, QuantConv2d(C, D, 1)]


@every(layer=layers())
def test_it_equals_the_convolution_in_outputs_and_gradients(layer: nn.Conv2d, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = layer.double()
    x = torch.randn(T, B, C, 1, 1, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(T, B, D, 1, 1, dtype=torch.float64)
    weight = layer.weight_q() if isinstance(layer, QuantConv2d) else layer.weight
    bias = [] if layer.bias is None else [layer.bias]
    expected = F.conv2d(x.flatten(0, 1), weight, layer.bias, stride=layer.stride).view(T, B, D, 1, 1)
    with monkeypatch.context() as patch:
        patch.setattr(F, "conv2d", None)
        found, _ = Sequential(layer)(x, steps=range(T))
    torch.testing.assert_close(found, expected, **EXACT)
    gradients = [torch.autograd.grad(y, [x, layer.weight, *bias], towards) for y in (found, expected)]
    torch.testing.assert_close(*gradients, **EXACT)


@every(
    "layer",
    "shape",
    of=[
        (nn.Conv2d(C, D, 1), (B, C, 1, 2)),
        (nn.Conv2d(C, D, 3, padding=1), (B, C, 1, 1)),
        (nn.Conv2d(C, D, 1, padding=1), (B, C, 1, 1)),
        (nn.Conv2d(4, 4, 1, groups=2), (B, 4, 1, 1)),
        (nn.Conv2d(C, D, 1), (C, 1, 1)),
        (nn.Conv1d(C, D, 1), (B, C, 1)),
    ],
)
def test_other_convolutions_are_no_products(layer: nn.Module, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    assert not runs_as_product(layer, x)
    assert not is_product(layer, x)  # type: ignore[arg-type]


def test_a_layer_that_is_watched_or_another_runs_as_it_is() -> None:
    x, seen = torch.randn(2, B, C, 1, 1), []
    watched = nn.Conv2d(C, D, 1)
    watched.register_forward_hook(lambda module, args, y: seen.append(y.shape))
    Sequential(watched)(x, steps=range(2))
    assert seen == [(2 * B, D, 1, 1)]

    class Doubled(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    doubled = Doubled(C, D, 1)
    torch.testing.assert_close(Sequential(doubled)(x, steps=range(2))[0].flatten(0, 1), doubled(x.flatten(0, 1)))
