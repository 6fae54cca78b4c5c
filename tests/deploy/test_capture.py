"""Modules of one's own are lowered by following their forward pass."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every
from deployed_networks import lowered
from deployed_networks import outputs as trained_outputs
from hdlif.errors import LoweringError
from hdlif.functional import gate
from hdlif.models import OwnNetwork
from hdlif.nn import HDLIF, BatchNorm2d, Neuron, QuantConv2d, Scope, Sequential, SpikeQuantizer, Temporal, Ternary
from hdlif.runtime import Session
from hostile import one_printable_line
from own_models import Branched, tiny

T = 3
SHAPE = (2, 8, 8)


def neuron(channels: int) -> nn.Module:
    return HDLIF(T, quantizer=SpikeQuantizer())


def conv(*arguments: Any, **named: Any) -> nn.Module:
    return QuantConv2d(*arguments, quantizer=Ternary(), **named)


def assert_deploys(network: nn.Module) -> None:
    """The module and the runtime give the same logits; few inputs, so that no code is at a boundary of rounding."""
    x = torch.randint(-4, 5, (T, 4, *SHAPE), generator=torch.Generator().manual_seed(1)) / 4
    trained_outputs(network.train(), x)
    expected = trained_outputs(network.eval(), x)
    logits = Session(lowered(network, SHAPE, time_steps=T)).run(x.numpy())
    torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-4, rtol=1e-4)


def test_it_computes_what_the_module_does() -> None:
    torch.manual_seed(0)
    assert_deploys(OwnNetwork(tiny(in_channels=2, classes=5, neuron=neuron)))
    branched = OwnNetwork(Branched(2, 5, neuron, conv, BatchNorm2d))
    assert_deploys(branched)
    # Nodes have the paths of the layers.
    names = [node.name for node in lowered(branched, SHAPE, time_steps=T).nodes]
    assert len(set(names)) == len(names)
    paths = {"network.stem.0", "network.left.0", "network.add", "network.concat", "network.out"}
    assert paths <= set(names)


class Following(Temporal):
    """A neuron after a convolution, and then what a test says."""

    def __init__(self, then: Callable[[Scope, Tensor], Any], outputs: int = 3) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(2, 4, 1), neuron(4)
        self.second = Sequential(nn.Conv2d(4, 4, 1), neuron(4))
        self.out = nn.Linear(outputs * 64, 5)
        self._then = then

    def forward(self, x: Tensor, state: Any, steps: range) -> Any:
        run = Scope(self, state, steps)
        h = run("second", run("act", run("conv", x)))
        return run("out", self._then(run, h)), run.state


@every(
    "then",
    "outputs",
    of=[
        (lambda run, h: (h[:, :, 1:] * 2).flatten(2), 3),
        (lambda run, h: torch.flatten(torch.cat([h, h[:, :, :2]], dim=-3), 2), 6),
        (lambda run, h: torch.flatten(torch.cat([h, h * 0.5], dim=-3), 2), 8),
        (lambda run, h: torch.add(1.5, -h).flatten(2), 4),
        (lambda run, h: (2 - (h + h) - 0.5).flatten(start_dim=2), 4),
        (lambda run, h: torch.mul(h, 0.25).flatten(2) if h.ndim == 5 else None, 4),
        (lambda run, h: gate(h * 0.5, h[:, :, 1:3] * 3).flatten(2), 4),
        (lambda run, h: gate(h, 0.5 - h[:, :, :1]).flatten(2), 4),
        # of no gate that a sign turns round does anything pass
        (lambda run, h: (gate(h, -h) + h).flatten(2), 4),
    ],
)
def test_what_may_stand_between_layers(then: Callable[[Scope, Tensor], Any], outputs: int) -> None:
    torch.manual_seed(0)
    assert_deploys(Following(then, outputs))


@every(
    "then",
    "words",
    of=[
        (lambda run, h: F.relu(h), r"uses relu\(\)"),
        (lambda run, h: torch.sigmoid(h), r"uses sigmoid\(\)"),
        (lambda run, h: h.mean(-1), r"uses .mean of a value"),
        (lambda run, h: h[0], r"uses \[0\]"),
        (lambda run, h: h[:, :, ::2], r"uses \[:, :, :\]"),
        (lambda run, h: torch.cat([h, h]), "uses torch.cat along dimension 0"),
        (lambda run, h: h.flatten(), r"uses flatten\(0, -1\)"),
        (lambda run, h: h if h else None, "uses the truth of a value"),
        (lambda run, h: h * h, "unsupported operand"),
        (lambda run, h: gate(h, torch.ones(1, 1, 4)), r"uses gate\(\) of something else too"),
        (lambda run, h: gate(torch.ones(1, 1, 4, 8, 8), h), r"uses gate\(\) of something else too"),
        (lambda run, h: operator.imul(h, 0.5), r"uses an operation in place \(write h = h \+ x"),
        (lambda run, h: 1 / 0, "cannot be followed: ZeroDivisionError: division by zero"),
    ],
)
def test_what_has_no_deployed_form_is_named(then: Callable[[Scope, Tensor], Any], words: str) -> None:
    with pytest.raises(LoweringError, match=f"net.*Following.*{words}") as caught:
        lowered(Sequential({"net": Following(then)}), SHAPE, time_steps=T)
    one_printable_line(caught.value)


class Direct(Following):
    def forward(self, x: Tensor, state: Any, steps: range) -> Any:
        return self.conv(x), None


class Odd(Following):
    def forward(self, x: Tensor, state: Any, steps: range) -> Any:
        return None, None


class Twice(Following):
    def forward(self, x: Tensor, state: Any, steps: range) -> Any:
        run = Scope(self, state, steps)
        return run("act", run("act", run("conv", x))), run.state


class NoEquation(Neuron):
    def forward(self, x: Tensor, state: Any, steps: range) -> Any:
        return x, None


@every(
    "module",
    "words",
    of=[
        (Direct(lambda run, h: h), r"uses conv2d\(\)"),
        (Odd(lambda run, h: h), "gives a NoneType"),
        (Twice(lambda run, h: h), "runs 'act' twice"),
        (NoEquation(), "a neuron without an equation"),
    ],
)
def test_a_forward_pass_that_cannot_be_followed_is_named(module: nn.Module, words: str) -> None:
    with pytest.raises(LoweringError, match=f"{type(module).__name__}: .*{words}"):
        lowered(module, SHAPE, time_steps=T)
