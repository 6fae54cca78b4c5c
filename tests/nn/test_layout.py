"""Convolutions have their gradients in channels last too: what oneDNN gets wrong there stays contiguous.

The fault writes beyond a buffer, so that measurements have a process of their own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from cases import every
from hdlif.learning.traced_pass import TraceRule
from hdlif.learning.traces import Traces
from hdlif.nn import QuantConv2d, Sequential, Ternary
from hdlif.nn.layout import lay_out, must_stay_contiguous, reads_channels_last
from hdlif.nn.steps import carrying
from hdlif.report.convolutions import FAULTY, TOLERANCE, Shape, shipped_convolutions

SWITCHES = {
    "as it is": {},
    # oneDNN's own switch, and PyTorch's.
    "AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
}
MEASURE = """
import json, sys, torch
from hdlif.report.convolutions import Shape, error
torch.set_num_threads(2)
for line in sys.stdin:
    values = [tuple(v) if isinstance(v, list) else v for v in json.loads(line)]
    print(error(Shape(*values), torch.channels_last), flush=True)
"""


class Measuring:
    """A process that measures one shape after the other; a shape that kills it is named."""

    def __init__(self, switches: dict[str, str]) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-c", MEASURE],
            env={**os.environ, **switches},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __call__(self, shape: Shape) -> float:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.write(json.dumps(shape) + "\n")
        self._child.stdin.flush()
        line = self._child.stdout.readline()
        assert line, f"{shape}: the process ended with {self._child.wait()}"
        return float(line)

    def end(self) -> None:
        self._child.kill()
        self._child.communicate()


@pytest.fixture(params=SWITCHES.values(), ids=SWITCHES, scope="module")
def measuring(request: pytest.FixtureRequest) -> Iterator[Measuring]:
    process = Measuring(request.param)
    yield process
    process.end()


def narrow(channels: int, stride: tuple[int, int], size: int, batch: int) -> Shape:
    return Shape(channels, 8, (1, 1), stride, (0, 0), 1, size, size, batch)


# The larger images make AVX-512 go through them in parts, the others AVX2.
@every("size", "batch", of=[(8, 64), (64, 3)], channels=[1, 4, 7, 15, 16])
def test_narrow_strided_convolutions_have_their_gradients(
    measuring: Measuring, channels: int, size: int, batch: int
) -> None:
    assert measuring(narrow(channels, (2, 2), size, batch)) < TOLERANCE


@pytest.mark.slow
def test_every_shape_that_ships_has_its_gradients(measuring: Measuring) -> None:
    shapes = [*FAULTY, *shipped_convolutions()]
    assert len(shapes) > 50
    assert {str(shape): error for shape in shapes if not (error := measuring(shape)) < TOLERANCE} == {}


def test_a_sum_that_cancels_is_no_error(measuring: Measuring) -> None:
    """One weight, whose gradient is a sum of 2,080 products, and 0.11."""
    assert measuring(Shape(1, 1, (1, 1), (3, 1), (0, 0), 1, 38, 20, 8)) < TOLERANCE


@st.composite
def shapes(draw: st.DrawFn) -> Shape:
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    kernel = draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (3, 3), (1, 3)]))
    height, width = draw(st.integers(3, 40)), draw(st.integers(3, 40))
    return Shape(
        groups * draw(st.integers(1, 20)),
        groups * draw(st.integers(1, 20)),
        kernel,
        draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        (draw(st.integers(0, kernel[0] - 1)), draw(st.integers(0, kernel[1] - 1))),
        groups,
        height,
        width,
        draw(st.integers(1, 8)),
    )


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(shape=shapes())
def test_any_convolution_has_its_gradients(measuring: Measuring, shape: Shape) -> None:
    assert measuring(shape) < TOLERANCE


def is_contiguous(x: Tensor) -> bool:
    """By its strides: a 1×1 kernel is both to `Tensor.is_contiguous`."""
    return x.stride() == torch.empty(x.shape).stride()


def block() -> Sequential:
    """A stem and a strided 1×1 shortcut."""
    torch.manual_seed(0)
    return Sequential(nn.Conv2d(3, 4, 3, padding=1, bias=False), QuantConv2d(4, 8, 1, stride=2, quantizer=Ternary()))


@every(leak=[None, 0.5])
def test_such_a_layer_sees_contiguous_tensors_alone(monkeypatch: pytest.MonkeyPatch, leak: float | None) -> None:
    """In a training step as in one with traces, which goes past the layer's hooks."""
    model, seen = block(), []
    lay_out(model, torch.channels_last)
    lay_out(model, torch.channels_last)
    assert len(model[1]._forward_pre_hooks) == 1
    assert not is_contiguous(model[0].weight)
    assert is_contiguous(model[1].weight)
    convolve = nn.functional.conv2d

    def watched(x: Tensor, weight: Tensor, *args: object) -> Tensor:
        seen.append((is_contiguous(x), is_contiguous(weight)))
        return convolve(x, weight, *args)

    monkeypatch.setattr("torch.nn.functional.conv2d", watched)
    x = torch.randn(2, 5, 3, 8, 8)
    x = x.flatten(0, 1).contiguous(memory_format=torch.channels_last).view(x.shape)
    traces = Traces({} if leak is None else {"1": model[1]}, TraceRule(leak or 0.0))
    y, _ = model(x, None, carrying(range(2), observers=[traces]))
    y.sum().backward()
    assert seen[-1] == (True, True)
    assert is_contiguous(model[1].weight.grad)


def test_what_must_stay_contiguous() -> None:
    def conv(channels: int = 4, kernel: int = 1, stride: int | tuple[int, int] = 2, groups: int = 1) -> nn.Module:
        return nn.Conv2d(channels, 8, kernel, stride=stride, groups=groups)

    assert all(must_stay_contiguous(conv(channels)) for channels in range(1, 16))
    assert must_stay_contiguous(conv(stride=(1, 2)))
    others = [conv(16), conv(kernel=2), conv(stride=1), conv(groups=2), nn.Conv1d(4, 8, 1, stride=2), nn.Linear(4, 8)]
    assert not any(map(must_stay_contiguous, others))


@every(
    "convolution",
    "images",
    "is_laid",
    of=[
        (nn.Conv2d(2, 16, 3), (1, 4, 2, 8, 8), True),
        (nn.Conv2d(2, 8, 3), (1, 4, 2, 8, 8), False),
        (nn.Conv2d(1, 16, 3), (1, 4, 1, 8, 8), False),
        (nn.Conv2d(2, 16, 1, stride=2), (1, 4, 2, 8, 8), False),
        (nn.Linear(2, 16), (1, 4, 2, 8, 8), False),
    ],
)
def test_images_are_laid_out_where_the_first_convolution_gains(
    convolution: nn.Module, images: tuple[int, ...], is_laid: bool
) -> None:
    assert reads_channels_last(nn.Sequential(convolution), torch.randn(images)) == is_laid
