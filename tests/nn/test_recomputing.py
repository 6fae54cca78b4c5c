"""Measures of layers that keep their graph; those of recomputed ones are tested with the reversible networks."""

import torch
from torch import Tensor

from hdlif.nn import HDLIF, Measure, QuantLinear, Sequential, carrying


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
