"""Surrogates, the gated LIF and online rules equal SpikingJelly's if the settings agree (float64).

LIF, in spikes and gradients: test_interop_spikingjelly.py.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every
from hdlif.functional import ATan, DetachedReset, GLIFParameters, Rectangle, Sigmoid, Surrogate, Triangle, glif_step
from hdlif.learning import OTTT, SLTT, Rule
from hdlif.nn import QuantLinear, Sequential, UnitLIF
from small_networks import assert_close, gradients

neuron = pytest.importorskip("spikingjelly.activation_based.neuron", reason="pip install spikingjelly")
surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
functional = pytest.importorskip("spikingjelly.activation_based.functional")
layer = pytest.importorskip("spikingjelly.activation_based.layer")

pytestmark = pytest.mark.peers
T, BATCH = 6, 4
TARGET = torch.tensor([0, 1, 2, 0])
SURROGATES = [
    (Triangle(), surrogate.PiecewiseQuadratic(alpha=1.0)),
    (Rectangle(), surrogate.Rect(alpha=1.0)),
    (Sigmoid(), surrogate.Sigmoid(alpha=4.0)),
    (ATan(), surrogate.ATan(alpha=2.0)),
]


@every("ours", "theirs", of=SURROGATES)
def test_surrogate_equals_theirs(ours: Surrogate, theirs: nn.Module) -> None:
    # Beside the jumps of the rectangle, at which conventions differ.
    x = (torch.linspace(-2, 2, 401, dtype=torch.float64) + 1e-3).requires_grad_()
    (slope,) = torch.autograd.grad(theirs(x).sum(), x)
    torch.testing.assert_close(ours(x.detach()), slope, atol=1e-12, rtol=0)


def test_gated_lif_step_equals_theirs() -> None:
    g = torch.Generator().manual_seed(0)
    names = ("decay_gate", "input_gate", "reset_gate", "leak", "linear_leak", "conductance", "reset", "threshold")
    values = {name: torch.rand(1, 5, 1, 1, generator=g, dtype=torch.float64) for name in names}
    x = torch.randn(T, 3, 5, 2, 2, generator=g, dtype=torch.float64) + 0.5
    potential = fired = theirs = their_spike = torch.zeros_like(x[0])
    for t in range(T):
        fired, potential = glif_step(x[t], potential, fired, GLIFParameters(**values))
        their_spike, theirs = functional.gated_lif_step(
            x[t],
            theirs,
            their_spike,
            values["decay_gate"],
            values["input_gate"],
            values["reset_gate"],
            values["leak"],
            values["threshold"],
            values["linear_leak"],
            values["reset"],
            values["conductance"],
            surrogate.PiecewiseQuadratic(alpha=1.0),
        )
        torch.testing.assert_close(potential, theirs, atol=1e-12, rtol=0)
        assert torch.equal(fired, their_spike)
    assert 0 < fired.mean() < 1


def network() -> Sequential:
    """Two layers of LIF neurons and a read-out."""
    torch.manual_seed(0)
    layers = {"fc0": QuantLinear(6, 20), "fc1": QuantLinear(20, 16), "out": nn.Linear(16, 3)}
    neurons = {name: UnitLIF(T, threshold=0.5, reset=DetachedReset()) for name in ("act0", "act1")}
    return Sequential({name: (layers | neurons)[name] for name in ("fc0", "act0", "fc1", "act1", "out")}).double()


def ours(rule: Rule, x: Tensor) -> dict[str, Tensor]:
    net = network()
    for step in rule(net, x, TARGET, rule.schedule(T, torch.Generator())):
        step.loss.backward()
    return gradients(net)


def theirs(kind: type[nn.Module], x: Tensor) -> dict[str, Tensor]:
    net = network()
    nodes = [
        kind(
            tau=2.0,
            decay_input=False,
            v_threshold=0.5,
            v_reset=None,
            surrogate_function=surrogate.PiecewiseQuadratic(alpha=1.0),
            detach_reset=True,
        ).train()
        for _ in range(2)
    ]
    traced = kind is neuron.OTTTLIFNode
    for t in range(T):
        h = nodes[0](net.fc0(x[t]))
        h = nodes[1](layer.GradwithTrace(net.fc1)(h) if traced else net.fc1(h))
        logits = net.out(h[0] if traced else h)
        (F.cross_entropy(logits, TARGET) / T).backward()
    return gradients(net)


def sequence() -> Tensor:
    return torch.randn(T, BATCH, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 2


def test_sltt_equals_theirs_in_every_weight() -> None:
    x = sequence()
    found, expected = ours(SLTT(), x), theirs(neuron.SLTTLIFNode, x)
    assert_close(found, expected)
    assert expected["fc0.weight"].abs().max() > 1e-3


def test_ottt_equals_theirs_behind_a_neuron() -> None:
    # Theirs has traces of spikes alone: the first layer, whose input is the image, has none; nor has a bias.
    x = sequence()
    found, expected = ours(OTTT(leak=0.5), x), theirs(neuron.OTTTLIFNode, x)
    for name in ("fc1.weight", "out.weight", "out.bias"):
        torch.testing.assert_close(found[name], expected[name], atol=1e-10, rtol=0)
    sltt = ours(SLTT(), x)
    torch.testing.assert_close(sltt["fc0.weight"], expected["fc0.weight"], atol=1e-10, rtol=0)
    assert (sltt["fc1.weight"] - expected["fc1.weight"]).abs().max() > 1e-3
