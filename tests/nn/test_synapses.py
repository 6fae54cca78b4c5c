"""Quantised synapses, weights held for an update of several backward passes, and measures of layers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import every
from hdlif.functional import binarize_weight, quantize_weight, ternarize_weight
from hdlif.learning import SLTT, Rule, StochasticStep
from hdlif.learning.traced_pass import TraceRule
from hdlif.learning.traces import Traces
from hdlif.nn import (
    HDLIF,
    Binary,
    HeldWeights,
    Integer,
    Measure,
    QuantConv1d,
    QuantConv2d,
    QuantLayer,
    QuantLinear,
    Sequential,
    Ternary,
    WeightQuantizer,
    carrying,
)


@dataclass
class Counted:
    """Ternary weights that count how often they are computed, and how often their gradient passes."""

    bits: float = 1.5
    forwards: int = 0
    backwards: list[Tensor] = field(default_factory=list)

    def __call__(self, weight: Tensor) -> Tensor:
        self.forwards += 1
        weight_q = ternarize_weight(weight)
        if weight_q.requires_grad:
            weight_q.register_hook(self.backwards.append)
        return weight_q

    codes = Ternary.codes


GEOMETRY = {"stride": 2, "padding": 3, "dilation": 2, "groups": 3}


QUANTISED: dict[WeightQuantizer | None, Callable[[Tensor], Tensor]] = {
    None: lambda weight: weight,
    Binary(): binarize_weight,
    Ternary(): ternarize_weight,
    Integer(4): partial(quantize_weight, bits=4),
}


@every(quantizer=list(QUANTISED))
def test_layers_run_the_quantised_weights(quantizer: WeightQuantizer | None) -> None:
    torch.manual_seed(0)
    quantise = QUANTISED[quantizer]
    for layer, run, x in (
        (QuantConv2d(3, 6, 3, quantizer=quantizer, **GEOMETRY), F.conv2d, torch.randn(2, 3, 5, 5)),
        (QuantConv1d(3, 6, 3, quantizer=quantizer, **GEOMETRY), F.conv1d, torch.randn(2, 3, 5)),
        (QuantLinear(5, 4, quantizer=quantizer), F.linear, torch.randn(2, 5)),
    ):
        options = {} if run is F.linear else GEOMETRY
        assert (layer.bias is None) == (run is not F.linear)
        assert torch.equal(layer(x), run(x, quantise(layer.weight), layer.bias, **options))
        if quantizer is not None:
            codes, scale = quantizer.codes(layer.weight)
            assert torch.equal(codes, codes.round())
            assert torch.equal(codes * scale, layer.weight_q())


@every(make=[partial(QuantConv1d, 2, 2, 1), partial(QuantConv2d, 2, 2, 1), partial(QuantLinear, 2, 2)])
def test_every_quantised_layer_is_held_and_learns_from_traces(make: Callable[..., nn.Module]) -> None:
    layer = make(quantizer=Ternary())
    assert isinstance(layer, QuantLayer)
    assert HeldWeights(layer).weights.keys() == {layer}
    assert Traces({"synapse": layer}, TraceRule(0.5)).names == {layer: "synapse"}


@every(rule=[SLTT(), StochasticStep(1), StochasticStep(3)])
def test_held_weights_are_computed_and_straight_through_differentiated_once_an_update(rule: Rule) -> None:
    counted = Counted()
    layer = QuantLinear(6, 3, quantizer=counted).double()
    model = Sequential(layer)
    arrived: list[Tensor] = []
    layer.weight.register_post_accumulate_grad_hook(lambda p: arrived.append(p.grad.clone()))
    x = torch.randn(4, 5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    losses = 0
    for step in rule(model, x, torch.tensor([0, 1, 2, 0, 1]), rule.schedule(4, torch.Generator().manual_seed(0))):
        step.loss.backward()
        losses += 1
        # a data-parallel hook fires with the update's last backward pass, not before
        assert len(arrived) == int(step.update)
    assert losses == (4 if isinstance(rule, SLTT) else rule.k)
    assert (counted.forwards, len(counted.backwards), len(arrived)) == (1, 1, 1)


def test_held_weights_run_where_the_steps_carry_them_and_nowhere_else() -> None:
    net, x = Sequential(QuantLinear(2, 2, bias=False, quantizer=Ternary())), torch.randn(1, 3, 2)
    held = HeldWeights(net)
    expected, _ = net(x, None, range(1))
    (leaf,) = held.weights.values()
    with torch.no_grad():
        leaf.mul_(2)
    found, _ = net(x, None, carrying(range(1), weights=held.weights))
    assert torch.equal(found, 2 * expected)
    assert torch.equal(net(x, None, range(1))[0], expected)


def test_a_layer_with_a_forward_pass_of_its_own_computes_its_weights() -> None:
    class Doubled(QuantLinear):
        def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
            return 2 * F.linear(x, self.weight_q())

    net = Sequential({"fc": Doubled(3, 2, bias=False, quantizer=Ternary())})
    steps = carrying(range(1), weights=HeldWeights(net).weights)
    assert net(torch.ones(1, 4, 3), None, steps)[0].shape == (1, 4, 2)


def test_measures_are_given_once_for_each_pass_with_a_graph() -> None:
    torch.manual_seed(0)
    layers = Sequential(QuantLinear(3, 4), HDLIF(2))
    given: dict[str, list[Tensor]] = {"synapse": [], "neuron": []}
    measures = {
        layers[0]: Measure(of=lambda x, y: x.sum() + y.sum(), give=given["synapse"].append),
        layers[1]: Measure(of=lambda x, y: y.sum(), give=given["neuron"].append),
    }
    x = torch.randn(2, 5, 3)
    steps = carrying(range(2), measures=measures)
    with torch.no_grad():
        layers(x, None, steps)
    spikes, _ = layers(x, None, steps)
    layers(x, None, range(2))
    # a synapse has time folded into its batch; a neuron's output comes with its state
    (synapse,), (neuron,) = given.values()
    torch.testing.assert_close(synapse, x.sum() + layers[0](x).sum())
    torch.testing.assert_close(neuron, spikes.sum())
    assert synapse.requires_grad
    assert neuron.requires_grad
