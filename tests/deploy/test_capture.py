"""Modules of one's own are lowered by following their forward pass."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hdlif import deploy
from hdlif.errors import LoweringError
from hdlif.graph.artefact import InputRecord
from hdlif.models import OwnNetwork
from hdlif.nn import HDLIF, BatchNorm2d, Neuron, QuantConv2d, Scope, Sequential, SpikeQuantizer, Temporal, Ternary
from hdlif.runtime import Session
from own_models import Branched, tiny

T = 3
RECORD = InputRecord((2, 8, 8), (0.0,) * 2, (1.0,) * 2)
LABELS = tuple("abcde")


def neuron(channels: int) -> nn.Module:
    return HDLIF(T, quantizer=SpikeQuantizer())


def conv(*arguments: Any, **named: Any) -> nn.Module:
    return QuantConv2d(*arguments, quantizer=Ternary(), **named)


def lowered(network: nn.Module) -> Any:
    return deploy.lower(network.eval(), input=RECORD, labels=LABELS, time_steps=T)


def assert_deploys(network: nn.Module) -> None:
    """The module and the runtime give the same logits; few inputs, so that no code lies at a boundary of rounding."""
    x = torch.randint(-4, 5, (T, 4, *RECORD.shape), generator=torch.Generator().manual_seed(1)) / 4
    with torch.no_grad():
        network.train()(x, None, range(T))
        expected, _ = network.eval()(x, None, range(T))
    logits = Session(lowered(network)).run(x.numpy())
    torch.testing.assert_close(torch.from_numpy(logits), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["tiny", "branched"])
def test_it_computes_what_the_module_does(name: str) -> None:
    torch.manual_seed(0)
    if name == "tiny":
        network = tiny(in_channels=2, classes=5, neuron=neuron)
    else:
        network = Branched(2, 5, neuron, conv, BatchNorm2d)
    assert_deploys(OwnNetwork(network))


def test_nodes_bear_the_paths_of_the_layers() -> None:
    graph = lowered(OwnNetwork(Branched(2, 5, neuron, conv, BatchNorm2d)))
    names = [node.name for node in graph.nodes]
    for name in ("network.stem.0", "network.left.0", "network.add", "network.concat", "network.out"):
        assert name in names
    assert len(set(names)) == len(names)


class Following(Temporal):
    """A neuron behind a convolution, and then what a test says."""

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


@pytest.mark.parametrize(
    ("then", "outputs"),
    [
        (lambda run, h: (h[:, :, 1:] * 2).flatten(2), 3),
        (lambda run, h: torch.flatten(torch.cat([h, h[:, :, :2]], dim=-3), 2), 6),
        (lambda run, h: torch.add(1.5, -h).flatten(2), 4),
        (lambda run, h: (2 - (h + h) - 0.5).flatten(start_dim=2), 4),
        (lambda run, h: torch.mul(h, 0.25).flatten(2) if h.ndim == 5 else None, 4),
    ],
)
def test_what_may_stand_between_layers(then: Callable[[Scope, Tensor], Any], outputs: int) -> None:
    torch.manual_seed(0)
    assert_deploys(Following(then, outputs))


@pytest.mark.parametrize(
    ("then", "words"),
    [
        (lambda run, h: F.relu(h), r"uses relu\(\)"),
        (lambda run, h: torch.sigmoid(h), r"uses sigmoid\(\)"),
        (lambda run, h: h.mean(-1), r"uses .mean of a value"),
        (lambda run, h: h[0], r"uses \[0\]"),
        (lambda run, h: h[:, :, ::2], r"uses \[:, :, :\]"),
        (lambda run, h: torch.cat([h, h]), "uses torch.cat along dimension 0"),
        (lambda run, h: h.flatten(), r"uses flatten\(0, -1\)"),
        (lambda run, h: h if h else None, "uses the truth of a value"),
        (lambda run, h: h * h, "unsupported operand"),
        (lambda run, h: operator.imul(h, 0.5), r"uses an operation in place \(write h = h \+ x"),
        (lambda run, h: 1 / 0, "cannot be followed: ZeroDivisionError: division by zero"),
    ],
)
def test_what_has_no_deployed_form_is_named(then: Callable[[Scope, Tensor], Any], words: str) -> None:
    with pytest.raises(LoweringError, match=f"net.*Following.*{words}.*run layers through hdlif.nn.Scope") as caught:
        lowered(Sequential({"net": Following(then)}))
    assert "\n" not in str(caught.value)


def test_a_layer_that_runs_twice_is_named() -> None:
    network = Following(lambda run, h: run("second", h).flatten(2), 4)
    with pytest.raises(LoweringError, match="Following: its forward pass runs 'second' twice"):
        lowered(network)


class Direct(Following):
    def forward(self, x: Tensor, state: Any, steps: range) -> Any:
        return self.conv(x), None


class Odd(Following):
    def forward(self, x: Tensor, state: Any, steps: range) -> Any:
        return None, None


class NoEquation(Neuron):
    def forward(self, x: Tensor, state: Any, steps: range) -> Any:
        return x, None


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Direct(lambda run, h: h), r"Direct: its forward pass uses conv2d\(\).*run layers through hdlif.nn.Scope"),
        (Odd(lambda run, h: h), r"Odd: its forward pass gives a NoneType; it must give \(y, run.state\)"),
        (NoEquation(), "NoEquation: a neuron without an equation has no deployed form"),
    ],
)
def test_a_forward_pass_that_cannot_be_followed(module: nn.Module, words: str) -> None:
    with pytest.raises(LoweringError, match=words):
        lowered(module)
